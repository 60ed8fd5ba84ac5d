"""Who shares a commit, what an item that cannot be stored costs those who share it, and who comes next."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from executions.intake import fair_threads
from executions.intake.fair_threads import FairThreads, Full, Join, Stored, Submission, Unavailable
from harness.processes import until
from tests.support.door import awaited


class Table:
    """What is written to; its first transaction begins late, like one that waits for another writer's lock."""

    def __init__(self, *, begins_with: int, refused: str = "") -> None:
        self.begins_with = begins_with
        self.refused = refused
        self.commits: list[list[str]] = []

    def write(self, items: Sequence[str], join: Join[str]) -> list[Stored[str]]:
        batch = [*items, *join()]
        while not self.commits and len(batch) < self.begins_with:
            batch += until(join, within=10)
        self.commits.append(sorted(batch))
        if self.refused in batch:
            raise ValueError(f"no {self.refused}")
        return [item.upper() for item in batch]


async def result_of(submission: Submission[str, str]) -> str:
    try:
        return await submission.result()
    except ValueError as error:
        return str(error)


def submit_together(table: Table, items: str) -> dict[str, str]:
    async def submit() -> dict[str, str]:
        threads = FairThreads("test", table.write)
        results = await asyncio.gather(*(result_of(threads.submit(item, "owner")) for item in items))
        return dict(zip(items, results, strict=True))

    return awaited(submit())


def test_those_who_arrive_until_the_transaction_begins_share_its_commit() -> None:
    table = Table(begins_with=3)

    assert submit_together(table, "abc") == {"a": "A", "b": "B", "c": "C"}
    assert table.commits == [["a", "b", "c"]]


def test_an_item_that_cannot_be_stored_fails_alone() -> None:
    table = Table(begins_with=3, refused="b")

    assert submit_together(table, "abc") == {"a": "A", "b": "no b", "c": "C"}
    assert sorted(table.commits) == [["a"], ["a", "b", "c"], ["b"], ["c"]]


class Gate:
    """Work that waits until it is let through; it remembers the order in which its items began."""

    def __init__(self) -> None:
        self.open = threading.Semaphore(0)
        self.began: list[str] = []

    def work(self, items: Sequence[str], _join: Join[str]) -> list[Stored[str]]:
        self.began += items
        self.open.acquire()
        return list(items)


def in_loop[Result](function: Callable[[], Result]) -> Result:
    async def call() -> Result:
        return function()

    return awaited(call())


def test_a_flood_of_one_owner_delays_another_by_one_turn() -> None:
    gate = Gate()
    threads = FairThreads("test", gate.work, batch=2)
    in_loop(lambda: [threads.submit(f"a{n}", "flood") for n in range(10)])
    until(lambda: gate.began)
    in_loop(lambda: [threads.submit(f"b{n}", "other") for n in range(2)])
    for _ in range(10):
        gate.open.release()

    until(lambda: len(gate.began) == 12)

    assert {"b0", "b1"} <= set(gate.began[:6])
    assert [item for item in gate.began if item.startswith("a")] == [f"a{n}" for n in range(10)]


def test_one_owner_and_one_part_of_it_leave_threads_to_others() -> None:
    gate = Gate()
    threads = FairThreads("test", gate.work, threads=4, batch=1, at_once=(3, 2))

    in_loop(lambda: [threads.submit(f"a{n}", "address", "session") for n in range(5)])
    until(lambda: len(gate.began) == 2)
    in_loop(lambda: [threads.submit(f"b{n}", "address", "another") for n in range(5)])
    until(lambda: len(gate.began) == 3)
    in_loop(lambda: threads.submit("c", "elsewhere", "session"))
    until(lambda: len(gate.began) == 4)

    assert gate.began == ["a0", "a1", "b0", "c"]
    for _ in range(11):
        gate.open.release()
    until(lambda: len(gate.began) == 11)


def test_an_owner_has_a_bounded_line() -> None:
    gate = Gate()
    threads = FairThreads("test", gate.work, batch=1, line=2)
    in_loop(lambda: threads.submit("begun", "owner"))
    until(lambda: gate.began)

    in_loop(lambda: [threads.submit("waits", "owner") for _ in range(2)])
    with pytest.raises(Full):
        in_loop(lambda: threads.submit("too many", "owner"))
    in_loop(lambda: threads.submit("of another", "neighbour"))
    for _ in range(4):
        gate.open.release()

    until(lambda: len(gate.began) == 4)
    in_loop(lambda: threads.submit("later", "owner"))
    gate.open.release()


def test_who_stops_waiting_takes_the_item_back(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    threads = FairThreads("test", gate.work, batch=1)
    in_loop(lambda: threads.submit("begun", "owner"))
    until(lambda: gate.began)
    monkeypatch.setattr(fair_threads, "LONGEST_WAIT_S", 0.05)

    async def wait_too_long() -> str:
        return await threads.submit("late", "owner").result()

    async def hang_up() -> None:
        waits = asyncio.create_task(wait_too_long())
        await asyncio.sleep(0)
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)

    with pytest.raises(Unavailable):
        awaited(wait_too_long())
    awaited(hang_up())
    in_loop(lambda: threads.submit("last", "owner"))
    for _ in range(2):
        gate.open.release()

    until(lambda: len(gate.began) == 2)
    assert gate.began == ["begun", "last"]


def test_a_thread_that_gave_too_few_results_tells_its_senders_and_goes_on() -> None:
    def forgetful(items: Sequence[str], _join: Join[str]) -> list[Stored[str]]:
        return ["A"] if "a" in items else []

    async def submit() -> list[str]:
        threads = FairThreads("test", forgetful)
        async with asyncio.timeout(15):
            return [await result_of(threads.submit(item, "owner")) for item in "ba"]

    first, second = awaited(submit())

    assert "zip()" in first
    assert second == "A"

"""Which engine claims, and what becomes of claims that are lost before they begin."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import uvloop

from executions.engine.claiming import BESIDE_OTHERS, GATHER_S, Claimer, Rank, rank_of
from executions.engine.database_thread import DatabaseThread
from executions.store.rows import Peer, Wanted
from executions.store.shares import NO_BOUND
from harness.automations import AUTOMATIONS, call, make
from harness.installation import Installation, copy_of
from harness.processes import until
from projects.ids import new_id
from tests.support.stub import Stub

A, B, C, D = (uuid.UUID(int=number) for number in (1, 2, 3, 4))


def peer(id: uuid.UUID, boot_id: str, *, is_stale: bool = False) -> Peer:
    return Peer(id=id, host="any", boot_id=boot_id, pid=1, is_stale=is_stale)


RANKS = {
    "alone": ([], Rank()),
    "the older of two on one machine": ([peer(C, "x")], Rank()),
    "the younger of two on one machine": ([peer(A, "x")], Rank(is_first=False, is_oldest=False)),
    "beside a quarantine": ([replace(peer(A, "x"), is_quarantine=True)], Rank()),
    "beside a dead one": ([peer(A, "x", is_stale=True)], Rank()),
    "with an older one on another machine": ([peer(A, "y")], Rank(machine=0, machines=2, is_oldest=False)),
    "with a younger one on another machine": ([peer(C, "y")], Rank(machine=0, machines=2)),
    "with others on both machines": (
        [peer(A, "w"), peer(C, "x"), peer(D, "w")],
        Rank(machine=1, machines=2, is_oldest=False),
    ),
}


@pytest.mark.parametrize(("peers", "rank"), RANKS.values(), ids=RANKS)
def test_an_engines_place_among_the_others(peers: list[Peer], rank: Rank) -> None:
    assert rank_of(B, "x", peers) == rank


def test_every_number_rings_for_one_machine() -> None:
    ranks = [Rank(machine=machine, machines=3) for machine in range(3)]

    assert all(sum(rank.has_turn(number) for rank in ranks) == 1 for number in range(256))
    assert all(rank.has_turn(None) for rank in ranks)
    assert not Rank(is_first=False).has_turn(None)


@pytest.fixture(scope="module")
def pair(template: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Return an installation with two workers, whose engines know each other."""
    settings = {"WORKERS": "2", "EXTRA_CONNECTORS": "harness.faulty"}
    with copy_of(template, tmp_path_factory.mktemp("pair"), **settings) as copy:
        copy.start()
        until(lambda: len(beaten(copy)) == 2, what="both engines have beaten")
        yield copy


def beaten(installation: Installation) -> list[int]:
    """Return the pids of the engines that have beaten since they began, and so know their peers; the first first."""
    sql = "SELECT pid, started_at, beat_at FROM executions_engine WHERE NOT is_quarantine ORDER BY id"
    return [row["pid"] for row in installation.query(sql) if row["beat_at"] > row["started_at"]]


def test_what_the_first_engine_leaves_the_other_one_of_its_machine_runs(pair: Installation) -> None:
    made = make(pair, AUTOMATIONS)
    first, _ = beaten(pair)

    os.kill(first, signal.SIGSTOP)
    try:
        execution = made.wait(made.start("transform"), within=5)  # long before the lease of the first one ends
    finally:
        os.kill(first, signal.SIGCONT)

    assert execution["claim"] == 1


def test_the_engines_of_a_machine_share_what_keeps_one_busy(pair: Installation) -> None:
    made = make(pair, {"busy": [{"key": "busy", "connector": "faulty", "action": "hurt", "input": {"fault": "busy"}}]})
    working = "SELECT COUNT(DISTINCT engine_id) AS n FROM executions_execution WHERE status = 1"

    with ThreadPoolExecutor(8) as senders:
        execution_ids = list(senders.map(lambda _: made.start("busy"), range(40)))

    until(lambda: pair.query(working)[0]["n"] == 2, every=0.01, what="both engines run some")
    assert {made.wait(execution_id)["claim"] for execution_id in execution_ids} == {1}


def test_those_that_go_on_at_once_end_one_after_the_other_not_all_at_last(pair: Installation, stub: Stub) -> None:
    busy = {"key": "busy", "connector": "faulty", "action": "hurt", "input": {"fault": "busy"}}
    made = make(pair, {"answered": [call(), busy]})
    stub.answer(path="/slow", delay=1.5)

    with ThreadPoolExecutor(16) as senders:
        ids = list(senders.map(lambda _: made.start("answered", {"url": stub.url + "/slow"}), range(60)))

    ended = [made.wait(execution_id, within=60) for execution_id in ids]
    assert {execution["claim"] for execution in ended} == {1}
    assert len({execution["finished_at"] for execution in ended}) > 20


def test_a_moment_that_has_come_already_may_be_set_and_another_one_after_it() -> None:
    async def set_two() -> bool:
        database = DatabaseThread(new_id(), 0, lambda *_: None, lambda _: None)
        claimer = Claimer(10, lambda: 0, lambda: False, database)
        claimer._ask_at(claimer.loop.time())  # for which uvloop returns a handle without a moment
        claimer._ask_at(claimer.loop.time() + GATHER_S)
        await asyncio.sleep(0)
        return bool(database.gathered.claim)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(set_two())


def full_engine(held: dict[uuid.UUID, int], *, waits: bool = False) -> Wanted | None:
    """Return what an engine with ten slots asks for when the organizations hold these."""

    async def ask() -> Wanted | None:
        database = DatabaseThread(new_id(), 0, lambda *_: None, lambda _: None)
        claimer = Claimer(10, lambda: sum(held.values()), lambda: waits, database, lambda: held)
        claimer.on_wake(None)
        return database.gathered.claim

    return asyncio.run(ask())


def test_what_an_engine_asks_for_beyond_its_slots() -> None:
    def most_and_limit(held: dict[uuid.UUID, int], *, waits: bool = False) -> tuple[int, int] | None:
        wanted = full_engine(held, waits=waits)
        return (wanted.most, wanted.limit) if wanted else None

    assert most_and_limit({A: 4}) == (NO_BOUND, 6)
    assert most_and_limit({A: 10}) == (5, 10), "a second organization would have half"
    assert most_and_limit({A: 10, B: 5}) == (2, 5), "half of what is left, so that a third and a fourth find some"
    assert most_and_limit({A: 10, B: 5, C: 2, D: 2}) == (1, 1)
    assert most_and_limit({A: 10, B: 10}) is None
    assert most_and_limit({A: 4}, waits=True) == (BESIDE_OTHERS, 16), "others have not begun: only for those with few"

"""The exception that ends a stall meets the execution that stalls, and nothing else."""

from __future__ import annotations

import asyncio
import queue
import random
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop

from automations.definition import Definition
from executions.engine import stall_guard
from executions.engine.black_box import BlackBox
from executions.engine.claiming import Claimer
from executions.engine.database_thread import DatabaseThread
from executions.engine.loop_share import FairShare, LoopTurn, traced
from executions.engine.slots import Slots
from executions.engine.stall_guard import StallGuard
from executions.engine.work import Work
from executions.runner.context import Stalled, Variables
from executions.states import Lane, Status
from executions.store.rows import Claimed, Move
from projects.ids import new_id

PIECES = 250
ROUNDS = 20  # at most: on a busy machine all strikes of one may come too late


def busy(seconds: float) -> int:
    ends_at, rounds = time.thread_time() + seconds, 0
    while time.thread_time() < ends_at:
        rounds += 1
    return rounds


async def piece(chance: random.Random, struck: list[int], number: int) -> int:
    """Compute for a while, twice, with a wait in between; return the number whether it was struck or not."""
    try:
        busy(chance.uniform(0, 0.006))
        await asyncio.sleep(0)
        busy(chance.uniform(0, 0.006))
    except Stalled:
        struck.append(number)
    return number


async def run_all(count: int, struck: list[int]) -> list[Any]:
    box, share, guard = BlackBox(new_id()), FairShare(), StallGuard(*[lambda: None] * 3)
    box._armed_at = time.monotonic() + 1_000_000  # the real watchdog has no part in this
    guard.start()
    chance = random.Random(7)
    results: list[Any] = []
    for first in range(0, count, 10):
        turns = []
        for number in range(first, first + 10):
            turn = LoopTurn(box, guard, share, new_id())
            turn.if_stalled = partial(int, number)
            turns.append(asyncio.ensure_future(wrapped(piece(chance, struck, number), turn)))
        results += await asyncio.gather(*turns)
        await asyncio.sleep(0)
    return results


async def wrapped(coroutine: Any, turn: LoopTurn) -> Any:
    return await traced(coroutine, turn)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_stall_strikes_inside_its_own_piece_only(
    monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path, loop: Any
) -> None:
    """Pieces end at all moments around the limit, so that many a strike comes too late and must be swallowed."""
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(stall_guard, "LOOK_S", 0.0005)
    monkeypatch.setattr(stall_guard, "STALL_CPU_S", 0.002)
    monkeypatch.setattr(stall_guard, "AGAIN_S", 0.05)
    struck: list[int] = []
    outcome: list[Any] = []

    def engine() -> None:  # a thread of its own, as an engine has: what strikes there cannot hide in the test's
        try:
            with asyncio.Runner(loop_factory=loop) as runner:
                for _ in range(ROUNDS):
                    outcome.append(runner.run(run_all(PIECES, struck)))
                    if struck:
                        return
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=engine)
    thread.start()
    thread.join()

    assert outcome == [list(range(PIECES))] * len(outcome)
    assert 0 < len(struck) < PIECES


def claimed(number: int) -> Claimed:
    one = new_id()
    return Claimed(
        id=one, organization_id=one, project_id=one, automation_id=one, version_id=one, lane=Lane.DIRECT, attempt=1,
        claim=number, deaths=0, suspicion=0, time_limit_s=300, ran_ms=0, is_counted=False,
    )  # fmt: skip


def test_what_has_ended_is_handed_over_while_another_one_holds_the_loop(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    handed: queue.Queue[list[Move]] = queue.Queue()
    seen: list[int] = []

    async def run(work: Work, _: LoopTurn) -> Move | None:
        if work.execution.claim == 3:
            seen.extend(move.execution.claim for move in handed.get(timeout=30))  # holds the loop until then
            return None
        return Move(execution=work.execution, target=Status.SUCCESS)

    async def begin() -> None:
        box = BlackBox(new_id())
        box._armed_at = time.monotonic() + 1_000_000
        slots = Slots(box, run, handed.put, lambda: None, lambda _: None)
        slots.run([Work(claimed(number), Definition(), Variables()) for number in (1, 2, 3)])
        await asyncio.sleep(0.01)

    asyncio.run(begin())

    assert seen == [1, 2]


def test_due_moment_of_uvloop_is_no_trap() -> None:
    async def ask() -> None:
        now = asyncio.get_running_loop().time()
        claimer = Claimer(1, lambda: 0, lambda: False, DatabaseThread(new_id(), 0, print, print))
        for moment in (now - 1, now - 2, now + 60, now - 3):
            claimer._ask_at(moment)
        assert claimer._ask_timer is not None
        claimer._ask_timer.cancel()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())


FAILING = """
import asyncio, sys, threading
from executions.engine.lifeline import keep, vital
def fail(): raise ZeroDivisionError
async def task(): fail()
async def main():
    match sys.argv[1]:
        case "task": tasks = [keep(task())]
        case "callback": asyncio.get_running_loop().call_soon(vital(fail))
        case "thread": threading.Thread(target=vital(fail), daemon=True).start()
    await asyncio.sleep(30)
asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["task", "callback", "thread"])
def test_a_part_that_fails_ends_its_worker_and_says_why(kind: str) -> None:
    ended = subprocess.run([sys.executable, "-c", FAILING, kind], capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr

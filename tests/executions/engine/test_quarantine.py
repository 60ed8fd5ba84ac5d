"""The quarantine: when it asks for suspects, and how its process ends."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import pytest

from automations.definition import Definition
from executions.engine import quarantine
from executions.engine.black_box import BlackBox
from executions.engine.database_thread import DatabaseThread
from executions.engine.loop_share import LoopTurn
from executions.engine.quarantine import SuspectClaimer, solitude_s
from executions.engine.slots import Slots
from executions.engine.work import Batch, Work
from executions.runner.context import Variables
from executions.states import Lane, Status
from executions.store.rows import Claim, Claimed, Move
from harness.automations import call, make
from harness.installation import Installation
from harness.processes import until
from projects.ids import new_id
from tests.support.stub import Stub


def suspect() -> Work:
    one = uuid.UUID(int=1)
    execution = Claimed(
        id=new_id(), organization_id=one, project_id=one, automation_id=one, version_id=one, lane=Lane.DIRECT,
        attempt=1, claim=1, deaths=2, suspicion=2, time_limit_s=300, ran_ms=0, is_counted=False,
    )  # fmt: skip
    return Work(execution, Definition(), Variables())


def asks(act: Callable[[SuspectClaimer], None], wait_s: float = 0) -> bool:
    """Return whether a quarantine that has begun two suspects asks for others after `act`."""

    async def run() -> bool:
        database = DatabaseThread(new_id(), 0, lambda *_: None, lambda _: None)
        claimer = SuspectClaimer(10, lambda: 2, database)
        claimer.ask()
        assert database.gathered.claims_suspects
        database.gathered = Batch()
        claimer.note_claimed(BEGUN, Claim())
        act(claimer)
        await asyncio.sleep(wait_s)
        return database.gathered.claims_suspects

    return asyncio.run(run())


BEGUN = [suspect(), suspect()]


def test_it_asks_for_others_once_all_have_shown_what_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def free(*works: Work) -> Callable[[SuspectClaimer], None]:
        def act(claimer: SuspectClaimer) -> None:
            for work in works:
                claimer.note_freed(work.execution.id)

        return act

    assert not asks(lambda claimer: claimer.on_wake(None))
    assert not asks(free(BEGUN[0]))
    assert asks(free(*BEGUN))
    monkeypatch.setattr(quarantine, "SOLITUDE_S", 0.01)
    assert asks(free(), wait_s=0.05), "they wait for something outside"


def test_solitude_grows_with_suspicion() -> None:
    assert [solitude_s(suspicion) for suspicion in (2, 3, 4, 5, 7)] == [5, 5, 5, 10, 40]


def test_a_suspect_that_is_lost_before_it_begins_keeps_nobody_waiting() -> None:
    begun: list[uuid.UUID] = []

    async def never(work: Work, _: LoopTurn) -> Move | None:
        begun.append(work.execution.id)
        return None

    async def lose() -> bool:
        database = DatabaseThread(new_id(), 0, lambda *_: None, lambda _: None)
        claimer = SuspectClaimer(10, lambda: len(slots), database)
        slots = Slots(BlackBox(new_id()), never, database.move, claimer.note_begun, claimer.note_freed)
        works = [suspect()]
        slots.run(works)
        claimer.note_claimed(works, Claim())
        slots.drop([works[0].execution.id])
        await asyncio.sleep(0.01)
        return database.gathered.claims_suspects

    assert asyncio.run(lose())
    assert begun == []


def test_the_cluster_stops_with_its_quarantine_and_accuses_nobody_more(installation: Installation, stub: Stub) -> None:
    made = make(installation, {"call": [call()]})
    stub.answer(path="/slow", delay=60)
    installation.start()
    execution_id = made.start("call", {"url": stub.url + "/slow"})
    stub.wait_for(1)
    sql = "UPDATE executions_execution SET suspicion = 2, status = 0, engine_id = NULL WHERE id = %s"
    installation.query(sql, [execution_id])
    quarantined = "SELECT running FROM executions_engine WHERE is_quarantine"
    until(lambda: any(row["running"] for row in installation.query(quarantined)), what="the quarantine runs it")

    assert installation.cluster is not None
    assert installation.cluster.terminate() == 0

    execution = made.read(execution_id)
    assert (execution["status"], execution["suspicion"], execution["deaths"]) == (Status.PENDING, 2, 0)
    assert installation.query("SELECT 1 FROM executions_engine") == []

"""A step that hurts its worker is stopped, and nobody else suffers for it."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from executions.engine.black_box import STALL_S, Evidence
from executions.engine.suspects import Verdict, judge
from executions.states import Status
from executions.store.rows import HeldExecution
from harness.automations import TRANSFORM, Made, call, make
from harness.installation import Installation, copy_of
from harness.processes import until
from tests.support.stub import Stub

A, B = uuid.UUID(int=1), uuid.UUID(int=2)
STALL = {"has_stalled": True}

JUDGED: dict[str, tuple[list[HeldExecution], Evidence, Verdict]] = {
    "nothing held": ([], Evidence(), Verdict(None)),
    "nobody named": ([HeldExecution(A, 0, 0), HeldExecution(B, 0, 0)], Evidence(), Verdict(None)),
    "somebody named who is not held": (
        [HeldExecution(A, 0, 0), HeldExecution(B, 0, 0)],
        Evidence(uuid.UUID(int=3)),
        Verdict(None),
    ),
    "named among others": ([HeldExecution(A, 0, 0), HeldExecution(B, 0, 0)], Evidence(A), Verdict(A)),
    "named again among others": (
        [HeldExecution(A, 2, 0), HeldExecution(B, 0, 0)],
        Evidence(A),
        Verdict(A, counts=True),
    ),
    "alone": ([HeldExecution(A, 0, 0)], Evidence(), Verdict(A, counts=True)),
    "alone, second death": ([HeldExecution(A, 2, 1)], Evidence(A), Verdict(A, counts=True)),
    "alone, third death": ([HeldExecution(A, 2, 2)], Evidence(), Verdict(A, True, True, "worker_died")),
    "stalled alone, first time": ([HeldExecution(A, 0, 0)], Evidence(A, "x", **STALL), Verdict(A, counts=True)),
    "stalled as a suspect": ([HeldExecution(A, 2, 0)], Evidence(A, "x", **STALL), Verdict(A, True, True, "stalled")),
    "alone in an engine that died with others": ([HeldExecution(A, 4, 2)], Evidence(), Verdict(None)),
    "named in an engine that died with others": ([HeldExecution(A, 4, 2)], Evidence(A), Verdict(A)),
    "stalled among others": ([HeldExecution(A, 0, 0), HeldExecution(B, 0, 0)], Evidence(A, "x", **STALL), Verdict(A)),
}


@pytest.mark.parametrize(("held", "evidence", "verdict"), JUDGED.values(), ids=JUDGED.keys())
def test_a_death_is_judged_by_its_evidence(
    request: pytest.FixtureRequest, held: list[HeldExecution], evidence: Evidence, verdict: Verdict
) -> None:
    died_alone = "died with others" not in request.node.name
    assert judge(held, evidence, died_alone=died_alone) == verdict


FAULTY = {"key": "hurt", "title": "Hurt", "connector": "faulty", "action": "hurt",
          "input": {"fault": "{{ trigger.body.fault }}", "wait_s": 0.2}}  # fmt: skip
AT_ONCE = FAULTY | {"input": {"fault": "{{ trigger.body.fault }}"}}


@pytest.fixture(scope="module")
def fragile(template: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Return an installation with a connector that hurts the worker, which is replaced each time."""
    settings = {"EXTRA_CONNECTORS": "harness.faulty"}
    with copy_of(template, tmp_path_factory.mktemp("fragile"), **settings) as copy:
        copy.start()
        yield copy


@pytest.fixture
def made(fragile: Installation) -> Made:
    """Return the automations of an organization of the test's own."""
    return make(
        fragile,
        {"faulty": [FAULTY], "at once": [AT_ONCE], "call": [call()], "once": [call(if_interrupted="never_repeat")]},
    )


def deaths_of_neighbours(made: Made, stub: Stub, fault: str, neighbours: int) -> tuple[Any, list[Any]]:
    """Start a fault among calls in flight; return its execution and the neighbours', once all have ended."""
    stub.answer(path="/slow", delay=1.5)
    others = [made.start("call", {"url": stub.url + "/slow"}) for _ in range(neighbours)]
    culprit = made.start("faulty", {"fault": fault})
    ended = made.wait(culprit, within=90)
    return ended, [made.wait(other, within=60) for other in others]


@pytest.mark.parametrize("fault", ["die", "die in a thread"])
def test_a_step_that_kills_its_worker_is_rejected_and_its_neighbours_succeed(
    made: Made, stub: Stub, fault: str
) -> None:
    culprit, others = deaths_of_neighbours(made, stub, fault, 200 if fault == "die" else 3)

    assert (culprit["status"], culprit["reason_code"]) == (Status.REJECTED, "worker_died")
    assert culprit["reason"] == "The worker died 3 times in step “Hurt”."
    assert {other["status"] for other in others} == {Status.SUCCESS}
    assert [run["error_code"] for run in made.step_runs(culprit["id"])] == ["worker_died"]
    assert made.counted == len(others) + 1


@pytest.mark.parametrize("fault", ["regex", "sleep"])
def test_a_step_that_holds_the_worker_is_rejected_and_its_neighbours_succeed(
    made: Made, stub: Stub, fault: str
) -> None:
    culprit, others = deaths_of_neighbours(made, stub, fault, 10)

    assert (culprit["status"], culprit["reason_code"]) == (Status.REJECTED, "stalled")
    assert "“Hurt”" in culprit["reason"]
    assert {other["status"] for other in others} == {Status.SUCCESS}


def test_a_worker_that_stood_still_is_no_stalled_one(made: Made) -> None:
    sql = "SELECT id, pid FROM executions_engine WHERE NOT is_quarantine"
    (engine,) = made.installation.query(sql)
    culprit = made.start("faulty", {"fault": "stop"})
    until(lambda: is_stopped(engine["pid"]), what="the worker stands still")

    time.sleep(STALL_S + 1)  # less than its lease
    os.kill(engine["pid"], signal.SIGCONT)
    ended = made.wait(culprit)

    assert (ended["status"], ended["claim"]) == (Status.SUCCESS, 1)
    assert made.installation.query(sql) == [engine]


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("fault", ["loop", "deaf loop"])
def test_a_step_in_python_that_holds_the_worker_ends_alone(made: Made, stub: Stub, fault: str) -> None:
    engines = made.installation.query("SELECT id FROM executions_engine WHERE NOT is_quarantine")
    stub.answer(path="/slow", delay=1.5)
    others = [made.start(name, {"url": stub.url + "/slow"}) for name in ("once", "call") for _ in range(5)]
    stub.wait_for(10)

    culprit = made.wait(made.start("faulty", {"fault": fault}), within=60)

    assert (culprit["status"], culprit["reason_code"], culprit["claim"]) == (Status.FAILED, "held_up", 1)
    assert culprit["reason"] == "Step “Hurt” failed: The step's code held up its worker for more than 2 s."
    assert {(other["status"], other["claim"]) for other in map(made.wait, others)} == {(Status.SUCCESS, 1)}
    assert len(stub.requests) == 10
    assert made.installation.query("SELECT id FROM executions_engine WHERE NOT is_quarantine") == engines


@pytest.mark.parametrize("name", ["at once", "faulty"])
def test_a_step_whose_wait_is_cancelled_by_itself_fails_and_does_not_run_for_ever(made: Made, name: str) -> None:
    execution = made.wait(made.start(name, {"fault": "cancelled"}))

    assert (execution["status"], execution["reason_code"], execution["claim"]) == (Status.FAILED, "internal_error", 1)


@pytest.mark.parametrize("name", ["at once", "faulty"])
def test_many_busy_steps_are_no_stall_whatever_they_take_together(made: Made, name: str) -> None:
    engines = made.installation.query("SELECT id FROM executions_engine WHERE NOT is_quarantine")
    with ThreadPoolExecutor(16) as senders:
        ids = list(senders.map(lambda _: made.start(name, {"fault": "busy"}), range(90)))

    ended = [made.wait(id, within=60) for id in ids]

    assert {(one["status"], one["claim"]) for one in ended} == {(Status.SUCCESS, 1)}
    assert made.installation.query("SELECT id FROM executions_engine WHERE NOT is_quarantine") == engines


def test_a_suspect_that_gets_a_step_done_is_one_no_longer(made: Made, stub: Stub) -> None:
    stub.answer(path="/slow", delay=1)
    ids = [made.start("call", {"url": stub.url + "/slow"}) for _ in range(2)]
    stub.wait_for(2)
    for id in ids:
        sql = "UPDATE executions_execution SET suspicion = 2, deaths = 2, status = 0, engine_id = NULL WHERE id = %s"
        made.installation.query(sql, [id])

    assert [made.wait(id, within=40)["status"] for id in ids] == [Status.SUCCESS] * 2
    until(lambda: made.counted == 2)


def test_two_unexplained_deaths_hold_up_no_neighbour_and_no_suspect_for_long(
    installation: Installation, stub: Stub
) -> None:
    installation.settings["WORKERS"] = "2"
    installation.start()
    until(lambda: len(engines(installation)) == 2, what="the engines know each other")
    made = make(installation, {"call": [call()]})
    neighbour = make(installation, {"transform": [TRANSFORM]})
    stub.answer(path="/slow", delay=5)
    with ThreadPoolExecutor(16) as senders:
        ids = list(senders.map(lambda _: made.start("call", {"url": stub.url + "/slow"}), range(100)))
    for suspicion in (1, 2):
        stub.wait_for(100 * suspicion)
        for pid in {row["pid"] for row in running(made)}:
            os.kill(pid, signal.SIGKILL)
        accused = partial(made.select, "id", "executions_execution", f"suspicion = {suspicion}")
        until(lambda accused=accused: len(accused()) == 100, what="all are suspected")  # type: ignore[misc]

    until(lambda: len(running(made)) > 30, what="many suspects run together")
    assert {row["is_quarantine"] for row in running(made)} == {True}
    assert neighbour.wait(neighbour.start("transform"), within=5)["claim"] == 1

    assert {made.wait(one, within=60)["status"] for one in ids} == {Status.SUCCESS}
    until(lambda: not any(row["is_quarantine"] for row in engines(installation)), what="the quarantine ends")


def test_suspects_of_another_organization_are_not_behind_many(installation: Installation, stub: Stub) -> None:
    many, one = (make(installation, {"call": [call()]}) for _ in range(2))
    stub.answer(path="/slow", delay=4)
    installation.start()
    ids = [made.start("call", {"url": stub.url + "/slow"}) for made in (*[many] * 20, one)]
    stub.wait_for(21)
    sql = "UPDATE executions_execution SET suspicion = 4, status = 0, engine_id = NULL WHERE status = 1"
    installation.query(sql)

    assert one.wait(ids[-1], within=30)["status"] == Status.SUCCESS
    assert len(many.select("id", "executions_execution", "suspicion = 4")) > 10


def engines(installation: Installation) -> list[dict[str, Any]]:
    """Return the engines that have beaten since they began."""
    rows = installation.query("SELECT id, pid, is_quarantine, started_at, beat_at FROM executions_engine")
    return [row for row in rows if row["beat_at"] > row["started_at"]]


def running(made: Made) -> list[dict[str, Any]]:
    """Return the engine of each execution that runs."""
    engine = "(SELECT {column} FROM executions_engine e WHERE e.id = engine_id) AS {column}"
    columns = ", ".join(engine.format(column=column) for column in ("pid", "is_quarantine"))
    return made.select(columns, "executions_execution", "status = 1")

"""A step that hurts its worker is stopped, and nobody else suffers for it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from executions.engine.black_box import Evidence
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
    "stalled among others": ([HeldExecution(A, 0, 0), HeldExecution(B, 0, 0)], Evidence(A, "x", **STALL), Verdict(A)),
}


@pytest.mark.parametrize(("held", "evidence", "verdict"), JUDGED.values(), ids=JUDGED.keys())
def test_a_death_is_judged_by_its_evidence(held: list[HeldExecution], evidence: Evidence, verdict: Verdict) -> None:
    assert judge(held, evidence) == verdict


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


def test_a_step_in_c_that_holds_the_worker_is_rejected_and_its_neighbours_succeed(made: Made, stub: Stub) -> None:
    culprit, others = deaths_of_neighbours(made, stub, "regex", 10)

    assert (culprit["status"], culprit["reason_code"]) == (Status.REJECTED, "stalled")
    assert "“Hurt”" in culprit["reason"]
    assert {other["status"] for other in others} == {Status.SUCCESS}


@pytest.mark.parametrize("fault", ["loop", "deaf loop"])
def test_a_step_in_python_that_holds_the_worker_ends_alone(made: Made, stub: Stub, fault: str) -> None:
    engines = made.installation.query("SELECT id FROM executions_engine")
    stub.answer(path="/slow", delay=1.5)
    others = [made.start(name, {"url": stub.url + "/slow"}) for name in ("once", "call") for _ in range(5)]
    stub.wait_for(10)

    culprit = made.wait(made.start("faulty", {"fault": fault}), within=60)

    assert (culprit["status"], culprit["reason_code"], culprit["claim"]) == (Status.FAILED, "held_up", 1)
    assert culprit["reason"] == "Step “Hurt” failed: The step's code held up its worker for more than 2 s."
    assert {(other["status"], other["claim"]) for other in map(made.wait, others)} == {(Status.SUCCESS, 1)}
    assert len(stub.requests) == 10
    assert made.installation.query("SELECT id FROM executions_engine") == engines


@pytest.mark.parametrize("name", ["at once", "faulty"])
def test_many_busy_steps_are_no_stall_whatever_they_take_together(made: Made, name: str) -> None:
    engines = made.installation.query("SELECT id FROM executions_engine")
    with ThreadPoolExecutor(16) as senders:
        ids = list(senders.map(lambda _: made.start(name, {"fault": "busy"}), range(90)))

    ended = [made.wait(id, within=60) for id in ids]

    assert {(one["status"], one["claim"]) for one in ended} == {(Status.SUCCESS, 1)}
    assert made.installation.query("SELECT id FROM executions_engine") == engines


def test_a_suspect_that_gets_a_step_done_is_one_no_longer(made: Made, stub: Stub) -> None:
    stub.answer(path="/slow", delay=1)
    ids = [made.start("call", {"url": stub.url + "/slow"}) for _ in range(2)]
    stub.wait_for(2)
    for id in ids:
        sql = "UPDATE executions_execution SET suspicion = 2, deaths = 2, status = 0, engine_id = NULL WHERE id = %s"
        made.installation.query(sql, [id])

    assert [made.wait(id, within=40)["status"] for id in ids] == [Status.SUCCESS] * 2
    until(lambda: made.counted == 2)


SUSPECTED = "status IN (0, 1) AND suspicion >= 2"


def test_other_work_goes_on_in_one_of_two_engines_while_many_suspects_run(
    installation: Installation, stub: Stub
) -> None:
    installation.settings["WORKERS"] = "2"
    installation.start()
    until(lambda: len(have_beaten(installation)) == 2, what="the engines know each other")
    made = make(installation, {"call": [call()], "transform": [TRANSFORM]})
    stub.answer(path="/slow", delay=1.5)
    suspects = [made.start("call", {"url": stub.url + "/slow"}) for _ in range(8)]
    stub.wait_for(8)
    for suspect in suspects:
        sql = "UPDATE executions_execution SET suspicion = 2, status = 0, engine_id = NULL WHERE id = %s"
        installation.query(sql, [suspect])
    until(lambda: made.select("id", "executions_execution", f"{SUSPECTED} AND status = 1"), what="one runs alone")
    seen = have_beaten(installation)
    until(lambda: all(at > seen[id] for id, at in have_beaten(installation).items()), what="both know of suspects")

    made.wait(made.start("transform"))

    left = made.select("engine_id", "executions_execution", SUSPECTED)
    assert len(left) > 1
    assert {row["engine_id"] for row in left} <= {None, max(seen)}
    assert {made.wait(suspect, within=60)["status"] for suspect in suspects} == {Status.SUCCESS}


def have_beaten(installation: Installation) -> dict[Any, Any]:
    """Return the last beats of the engines that have beaten since they began, by id."""
    rows = installation.query("SELECT id, started_at, beat_at FROM executions_engine")
    return {row["id"]: row["beat_at"] for row in rows if row["beat_at"] > row["started_at"]}

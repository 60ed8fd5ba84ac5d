"""Executions in a real cluster: each status by its real cause, what counts, and what survives which death."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from executions.states import Status
from tests.support.automations import TRANSFORM, Made, call, make
from tests.support.installation import Installation
from tests.support.processes import group_is_alive, until
from tests.support.smtp import Smtp
from tests.support.stub import Stub

WAIT = {"key": "wait", "connector": "wait", "action": "for", "input": {"amount": 1}}
LONG_WAIT = {"key": "wait", "connector": "wait", "action": "for", "input": {"amount": 1, "unit": "hours"}}
EMAIL = {"key": "mail", "connector": "email", "action": "send",
         "input": {"to": "ada@example.com", "subject": "Hello"}}  # fmt: skip
STOP_HERE = {
    "key": "only_if", "connector": "condition", "action": "continue_if",
    "input": {"conditions": {"all": [{"path": "trigger.body.name", "op": "equals", "value": "nobody"}]}},
}  # fmt: skip
RESPOND = {"key": "reply", "connector": "response", "action": "send", "input": {"body": "{{ shape }}"}}

AUTOMATIONS = {
    "transform": [TRANSFORM],
    "call": [call()],
    "patient": [call(retry={"times": 2, "backoff_s": 0.05})],
    "skip": [call(on_error="skip"), TRANSFORM],
    "chain": [TRANSFORM, call("first"), call("second")],
    "once": [call(if_interrupted="never_repeat")],
    "wait": [WAIT, TRANSFORM],
    "long wait": [LONG_WAIT],
    "email": [TRANSFORM, EMAIL],
    "condition": [STOP_HERE, TRANSFORM],
    "respond": [TRANSFORM, RESPOND],
    "no reply": [STOP_HERE, TRANSFORM, RESPOND],
    "unfinished": [{"key": "todo"}],
}


@pytest.fixture
def made(server: Installation) -> Made:
    """Return the automations of an installation whose cluster is not running yet."""
    return make(server, AUTOMATIONS)


@pytest.fixture
def running(made: Made) -> Made:
    made.installation.start_cluster()
    return made


def test_each_status_has_its_real_cause(made: Made, stub: Stub, smtp: Smtp) -> None:
    pending = made.start("transform")
    assert made.status(pending) is Status.PENDING

    made.installation.start_cluster()
    stub.answer(path="/slow", delay=3)
    stub.answer(500, path="/broken")
    running = made.start("call", {"url": stub.url + "/slow"})
    made.wait(running, Status.RUNNING)
    failed = made.wait(made.start("call", {"url": stub.url + "/broken"}))
    paused = made.wait(made.start("long wait"), Status.PAUSED)
    made.change("call", "time_limit_s", 1)
    rejected = made.wait(made.start("call", {"url": stub.url + "/slow"}))
    made.installation.query("UPDATE projects_organization SET email_limit = 1")
    sent = made.wait(made.start("email"))
    partial = made.wait(made.start("email"))

    assert made.wait(pending)["status"] == Status.SUCCESS
    assert made.wait(running)["status"] == Status.SUCCESS
    assert (failed["status"], failed["reason_code"]) == (Status.FAILED, "http_500")
    assert "Step “HTTP request” failed" in failed["reason"] and "500" in failed["reason"]
    assert paused["reason_code"] == "waiting"
    assert (rejected["status"], rejected["reason_code"]) == (Status.REJECTED, "time_limit")
    assert made.steps(rejected["id"]) == [("call", "Rejected")]
    assert (sent["status"], partial["status"]) == (Status.SUCCESS, Status.PARTIALLY_EXECUTED)
    assert made.steps(partial["id"]) == [("shape", "Success"), ("mail", "Not sent")]
    assert len(smtp.wait_for(1)) == 1


def test_an_execution_counts_once_whatever_its_end(running: Made, stub: Stub) -> None:
    stub.answer(500, path="/broken")
    for name, body in [
        ("transform", None),
        ("chain", {"name": "ada", "url": stub.url}),
        ("call", {"url": stub.url + "/broken"}),
        ("condition", None),
    ]:
        running.wait(running.start(name, body))
    running.wait(running.start("long wait"), Status.PAUSED)

    assert running.counted == 4


def test_a_condition_ends_the_execution_as_a_success(running: Made) -> None:
    execution = running.wait(running.start("condition"))

    assert (execution["status"], execution["reason_code"]) == (Status.SUCCESS, "condition_ended")
    assert running.steps(execution["id"]) == [("only_if", "Success")]


def test_a_skipped_failure_goes_on_and_says_so(running: Made, stub: Stub) -> None:
    stub.answer(500, path="/broken")

    execution = running.wait(running.start("skip", {"name": "ada", "url": stub.url + "/broken"}))

    assert (execution["status"], execution["reason"]) == (Status.SUCCESS, "1 step failed, skipped.")
    assert running.steps(execution["id"]) == [("call", "Failed"), ("shape", "Success")]


def test_a_step_is_tried_as_often_as_its_policy_says(running: Made, stub: Stub) -> None:
    stub.answer(503, path="/busy")

    execution = running.wait(running.start("patient", {"url": stub.url + "/busy"}))

    keys = {request.headers["idempotency-key"] for request in stub.wait_for(3)}
    assert execution["status"] == Status.FAILED
    assert running.step_runs(execution["id"])[0]["tries"] == 3
    assert len(keys) == 1


def test_an_unfinished_step_fails_with_its_name(running: Made) -> None:
    execution = running.wait(running.start("unfinished"))

    assert (execution["status"], execution["reason_code"]) == (Status.FAILED, "not_configured")
    assert "todo" in execution["reason"]


def test_a_wait_pauses_and_resumes_on_time(running: Made) -> None:
    execution_id = running.start("wait")

    paused = running.wait(execution_id, Status.PAUSED)
    done = running.wait(execution_id)

    assert paused["engine_id"] is None
    assert done["status"] == Status.SUCCESS
    assert running.steps(execution_id) == [("wait", "Success"), ("shape", "Success")]


def test_a_response_step_answers_the_caller(running: Made) -> None:
    assert running.post("respond") == (200, {"name": "ADA"})


def test_a_response_step_that_is_never_reached_answers_502_with_the_execution(running: Made) -> None:
    status, answer = running.post("no reply")

    assert status == 502
    assert answer["error"]["code"] == "no_reply"
    assert answer["execution_id"]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_worker(made: Made) -> None:
    """Kill the worker whose engine runs, which another one replaces."""
    pid = made.installation.query("SELECT pid FROM executions_engine ORDER BY beat_at DESC")[0]["pid"]
    os.kill(pid, signal.SIGKILL)


def test_a_killed_worker_loses_nothing_and_repeats_only_the_call_in_flight(running: Made, stub: Stub) -> None:
    stub.answer(path="/slow", delay=1)
    execution_id = running.start("chain", {"name": "ada", "url": stub.url + "/slow"})
    stub.wait_for(2)  # the second call is in flight

    kill_worker(running)
    execution = running.wait(execution_id)

    keys = [request.headers["idempotency-key"].split("-")[-2] for request in stub.wait_for(3)]
    assert (execution["status"], execution["deaths"], execution["attempt"]) == (Status.SUCCESS, 1, 1)
    assert running.steps(execution_id) == [("shape", "Success"), ("first", "Success"), ("second", "Success")]
    assert keys == ["first", "second", "second"]


def test_a_never_repeat_step_is_not_repeated_when_its_worker_dies(running: Made, stub: Stub) -> None:
    stub.answer(path="/slow", delay=2)
    execution_id = running.start("once", {"url": stub.url + "/slow"})
    stub.wait_for(1)

    kill_worker(running)
    execution = running.wait(execution_id)

    assert (execution["status"], execution["reason_code"]) == (Status.FAILED, "interrupted")
    assert len(stub.requests) == 1


def test_an_idle_worker_may_die_and_the_next_one_goes_on(running: Made) -> None:
    for _ in range(2):
        kill_worker(running)

        assert running.wait(running.start("transform"))["status"] == Status.SUCCESS


def test_sigterm_ends_the_cluster_with_all_in_flight_finished(running: Made, stub: Stub) -> None:
    stub.answer(path="/slow", delay=0.8)
    executions = [running.start("call", {"url": stub.url + "/slow"}) for _ in range(50)]
    cluster = running.installation.cluster
    assert cluster is not None

    assert cluster.terminate(within=10) == 0

    assert {running.status(execution_id) for execution_id in executions} <= {Status.SUCCESS, Status.PENDING}
    assert not running.installation.query("SELECT id FROM executions_engine")
    assert not group_is_alive(cluster.pid)


@pytest.mark.parametrize("victim", ["main", "sentinel"])
def test_nothing_of_the_cluster_is_left_when_a_leading_process_is_killed(running: Made, victim: str) -> None:
    cluster = running.installation.cluster
    assert cluster is not None
    pid = cluster.pid if victim == "main" else children(cluster.pid)[0]

    os.kill(pid, signal.SIGKILL)

    until(lambda: not group_is_alive(cluster.pid), within=10, what="the group has ended")


def test_the_hard_limit_is_exact_and_leaves_a_receipt(running: Made) -> None:
    running.installation.query("UPDATE projects_organization SET hard_limit = 3")

    answers = [running.post("transform")[0] for _ in range(5)]

    assert answers == [202, 202, 202, 429, 429]
    until(lambda: running.counted == 3)
    assert len(running.installation.query("SELECT * FROM executions_receipt WHERE code = 'hard_limit'")) == 2

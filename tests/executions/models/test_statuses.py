"""Each status by its real cause, what counts, and what the month's limits refuse."""

from __future__ import annotations

import pytest

from executions.states import Status
from harness.automations import AUTOMATIONS, Made, make
from harness.installation import Installation
from harness.processes import until
from tests.support.smtp import Smtp
from tests.support.stub import Stub


@pytest.fixture
def running(product: Installation) -> Made:
    """Return the automations of an organization of the test's own."""
    return make(product, AUTOMATIONS)


def test_each_status_has_its_real_cause(server: Installation, stub: Stub, smtp: Smtp) -> None:
    made = make(server, AUTOMATIONS)
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
    made.set_organization("email_limit", 1)
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


def test_an_email_that_the_server_refuses_is_not_counted(running: Made, smtp: Smtp) -> None:
    smtp.refuse("RCPT", "550 no such user")

    execution = running.wait(running.start("email"))

    assert (execution["status"], execution["reason_code"]) == (Status.FAILED, "recipient_refused")
    assert running.select("emails", "projects_usagemonth")[0]["emails"] == 0


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


def test_the_hard_limit_is_exact_and_leaves_a_receipt(running: Made) -> None:
    running.set_organization("hard_limit", 3)

    answers = [running.post("transform")[0] for _ in range(5)]

    assert answers == [202, 202, 202, 429, 429]
    until(lambda: running.counted == 3)
    assert len(running.select("*", "executions_receipt", "code = 'hard_limit'")) == 2

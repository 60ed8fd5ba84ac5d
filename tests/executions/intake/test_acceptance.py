"""What a sender is told when the reply is late, the database is away or the automation changes meanwhile."""

from __future__ import annotations

import threading
import uuid

import pytest

from executions.states import Status
from harness.automations import TRANSFORM, Made, make
from harness.installation import Installation
from harness.processes import until

RESPOND = {
    "key": "reply",
    "connector": "response",
    "action": "send",
    "input": {"status": 201, "headers": [{"name": "X-Kind", "value": "test"}], "body": "{{ shape.name }}"},
}


AUTOMATIONS = {"transform": [TRANSFORM], "respond": [TRANSFORM, RESPOND]}


@pytest.fixture
def made(product: Installation) -> Made:
    """Return the automations of an organization of the test's own."""
    return make(product, AUTOMATIONS)


def test_a_reply_that_is_late_answers_504_and_the_execution_goes_on(installation: Installation) -> None:
    installation.settings["REPLY_LIMIT_S"] = "1"
    installation.start_web()
    made = make(installation, AUTOMATIONS)
    status, answer = made.post("respond")

    made.installation.start_cluster()
    assert (status, answer["error"]["code"]) == (504, "reply_timeout")
    assert made.wait(uuid.UUID(answer["execution_id"]))["status"] == Status.SUCCESS


def test_a_caller_that_repeats_its_request_gets_the_first_ones_reply(made: Made) -> None:
    key = {"Idempotency-Key": "order-17"}

    first, second = (made.post("respond", {"name": "ada"}, key) for _ in range(2))

    assert first == second == (201, "ADA")
    assert made.executions == 1
    assert made.post("respond", {"name": "bob"}, key)[0] == 422


def test_nothing_is_stored_while_the_database_is_away(server: Installation) -> None:
    made = make(server, AUTOMATIONS)
    made.start("transform")

    with made.installation.database.away():
        status, answer = made.post("transform")

    assert (status, answer["error"]["code"]) == (503, "unavailable")
    assert made.post("transform")[0] == 202
    assert made.executions == 2


def test_a_deactivation_is_noticed_by_the_next_request(made: Made) -> None:
    assert made.post("transform")[0] == 202

    made.change("transform", "is_active", False)
    status, answer = made.post("transform")

    assert (status, answer["trigger_id"]) == (409, made.triggers["transform"])
    made.change("transform", "is_active", True)
    assert made.post("transform")[0] == 202


def test_a_burst_shares_commits_and_loses_nothing(made: Made) -> None:
    answers: list[int] = []

    def send() -> None:
        for _ in range(25):
            answers.append(made.post("transform")[0])

    senders = [threading.Thread(target=send) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()

    assert answers == [202] * 200
    assert made.executions == 200
    until(lambda: made.counted == 200, within=30)

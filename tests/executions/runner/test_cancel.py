"""Executions under way are cancelled through the API: where they stop, and what became of the call under way."""

from __future__ import annotations

import json
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from executions.states import Status
from harness.automations import LONG_WAIT, TRANSFORM, Made, call, make
from harness.installation import Installation
from harness.processes import until
from tests.support.stub import Stub

PATIENT = call(retry={"times": 3, "backoff_s": 4})
AUTOMATIONS: dict[str, list[dict[str, Any]]] = {
    "chain": [call("first"), call("second")],
    "once": [call("first"), call("second", if_interrupted="never_repeat")],
    "patient": [PATIENT, TRANSFORM],
    "wait": [TRANSFORM, LONG_WAIT],
    "respond": [LONG_WAIT, {"key": "reply", "connector": "response", "action": "send", "input": {}}],
}


class Canceller:
    """The automations of an organization, and one of its members with an API token."""

    def __init__(self, product: Installation) -> None:
        self.owner = f"ada {uuid.uuid4().hex[:6]}"
        self.made: Made = make(product, AUTOMATIONS, owner=self.owner)
        self.token = product.call("harness.factory.make_token", self.owner)

    def cancel(self, execution_id: uuid.UUID) -> dict[str, Any]:
        address = f"{self.made.installation.url}/v1/projects/{self.made.project}/executions/{execution_id}/cancel"
        headers = {"authtoken": self.token, "organization_uid": str(self.made.organization)}
        with urllib.request.urlopen(urllib.request.Request(address, b"", headers)) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found

    def ended(self, execution_id: uuid.UUID) -> str:
        """Return the reason of an execution that has ended as cancelled, without the name in it."""
        execution = self.made.wait(execution_id)
        assert (execution["status"], execution["reason_code"]) == (Status.REJECTED, "cancelled"), execution
        assert self.made.counted == 1
        return str(execution["reason"]).replace(self.owner, "ada")


@pytest.fixture
def canceller(product: Installation) -> Canceller:
    return Canceller(product)


@pytest.mark.parametrize("name", ["chain", "once"])
def test_a_call_under_way_ends_as_it_does_and_the_next_step_is_not_done(
    canceller: Canceller, stub: Stub, name: str
) -> None:
    stub.answer(200, {"ok": True}, path="/slow", delay=0.7)
    execution_id = canceller.made.start(name, {"url": stub.url + "/slow"})
    stub.wait_for(1)

    assert canceller.cancel(execution_id)["is_stopping"]

    assert canceller.ended(execution_id) == "Cancelled by ada before step “HTTP request”."
    steps = canceller.made.steps(execution_id)
    assert steps[0] == ("first", "Success") and set(steps[1:]) <= {("second", "Rejected")}
    assert len(stub.requests) == 1


def test_a_failed_call_is_not_tried_again(canceller: Canceller, stub: Stub) -> None:
    stub.answer(503, path="/busy")
    execution_id = canceller.made.start("patient", {"url": stub.url + "/busy"})
    stub.wait_for(1)

    canceller.cancel(execution_id)

    assert canceller.ended(execution_id) == "Cancelled by ada before the next try of step “HTTP request”."
    (run,) = canceller.made.step_runs(execution_id)
    assert (run["error_code"], run["error"]) == ("http_503", "The server answered with status 503.")
    assert canceller.made.steps(execution_id) == [("call", "Failed")]
    assert len(stub.requests) == 1


def test_a_wait_of_hours_ends_at_once(canceller: Canceller) -> None:
    execution_id = canceller.made.start("wait")
    canceller.made.wait(execution_id, Status.PAUSED)

    assert canceller.cancel(execution_id)["status"] == "rejected"

    assert canceller.ended(execution_id) == "Cancelled by ada while it waited in step “Wait for”."
    assert canceller.made.steps(execution_id) == [("shape", "Success"), ("wait", "Rejected")]


def test_a_caller_who_waits_hears_of_it_but_not_by_whom(canceller: Canceller) -> None:
    made = canceller.made
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(made.post, "respond")
        until(lambda: made.select("id", "executions_execution", f"status = {Status.PAUSED}"), what="it waits")
        (row,) = made.select("id", "executions_execution")
        canceller.cancel(uuid.UUID(str(row["id"])))
        status, body = answer.result(timeout=10)

    assert (status, body["error"]["code"]) == (502, "cancelled")
    assert body["error"]["message"] == "The execution was cancelled before it reached a Response step."
    assert canceller.owner not in json.dumps(body)

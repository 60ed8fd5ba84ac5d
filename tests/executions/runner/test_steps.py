"""What the engine does with steps: conditions, failures, tries, waits, replies."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from executions.states import Status
from harness.automations import AUTOMATIONS, EMAIL, WAIT, Made, call, make
from harness.installation import Installation
from harness.processes import until
from tests.support.smtp import Smtp
from tests.support.stub import Stub

pytestmark = pytest.mark.usefixtures("product")


@pytest.fixture(scope="session")
def running(shared_product: Installation) -> Made:
    """Return automations of the product that all tests share."""
    return make(shared_product, AUTOMATIONS)


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


@pytest.mark.parametrize(("fields", "requests"), [({"if_interrupted": "never_repeat"}, 1), ({}, 3)])
def test_a_step_that_must_never_be_repeated_is_not_tried_again_when_it_may_have_acted(
    product: Installation, stub: Stub, fields: dict[str, str], requests: int
) -> None:
    policy: dict[str, Any] = {"retry": {"times": 2, "backoff_s": 0.05}, "time_limit_s": 0.3}
    made = make(product, {"slow": [call(**policy, **fields)]})
    stub.answer(path="/slow", delay=1)

    execution = made.wait(made.start("slow", {"url": stub.url + "/slow"}))

    assert (execution["status"], execution["reason_code"]) == (Status.FAILED, "step_time_limit")
    assert len(stub.requests) == requests


def test_a_step_that_must_never_be_repeated_is_durable_before_the_next_one_is_done(
    product: Installation, stub: Stub
) -> None:
    text = "{% for i in (1..9999) %}" + "{% if i == 0 %}{% endif %}" * 300 + "{% endfor %}"
    slow = {"key": "slow", "connector": "transform", "action": "template", "input": {"template": text}}
    made = make(product, {"sent": [call(if_interrupted="never_repeat"), slow]})

    execution_id = made.start("sent", {"url": stub.url})

    until(lambda: made.steps(execution_id) == [("call", "Success")], what="the call is durable")
    assert made.status(execution_id) == Status.RUNNING
    assert made.wait(execution_id, within=60)["reason_code"] == "compute_time"


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


def test_what_no_text_can_hold_is_replaced_in_an_answer_and_in_the_error_that_quotes_it(
    product: Installation, stub: Stub
) -> None:
    mail = {"to": "{{ call.headers['x-odd'] }}", "subject": "Hello"}
    steps = [call(), WAIT, {"key": "mail", "connector": "email", "action": "send", "input": mail}]
    made = make(product, {"odd": steps, "transform": AUTOMATIONS["transform"]})
    headers = {"Content-Type": "text/plain; charset=utf-8", "X-Odd": "caf\xe9"}
    stub.answer(body=b"half of \xed\xa0\xbd", path="/odd", headers=headers)

    execution = made.wait(made.start("odd", {"url": stub.url + "/odd"}))

    answer = json.loads(made.step_runs(execution["id"])[0]["output"])
    assert (execution["status"], execution["reason_code"]) == (Status.FAILED, "invalid_input")
    assert "“caf\ufffd” is not an e-mail address" in execution["reason"]
    assert (answer["headers"]["x-odd"], answer["body"]) == ("caf\ufffd", "half of \ufffd\ufffd\ufffd")
    assert made.wait(made.start("transform"))["status"] == Status.SUCCESS


def test_an_e_mails_message_id_comes_from_the_key_that_a_repetition_keeps(product: Installation, smtp: Smtp) -> None:
    made = make(product, {"email": [EMAIL]})

    execution = made.wait(made.start("email"))

    (mail,) = smtp.wait_for(1)
    assert mail.message["Message-ID"] == f"<{uuid.UUID(str(execution['id']))}-1-mail-0@agentos>"

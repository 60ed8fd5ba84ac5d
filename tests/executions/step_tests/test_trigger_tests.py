"""The builder's Test of a trigger: a sample request is read as the trigger URL reads it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from automations.models import StepTest
from executions.models import Execution, StepRun
from executions.states import StepStatus
from tests.support.bench import Bench, step

pytestmark = pytest.mark.django_db(transaction=True)


def test_trigger_is_tested_with_a_sample(bench: Callable[..., Bench]) -> None:
    it = bench(step("transform", "template", {"template": "{{ trigger.body.a }} {{ trigger.query.b }}"}))

    sample = {"method": "POST", "content_type": "application/json", "query": "b=2", "body": '{"a": 1}',
              "headers": "X-GitHub-Event: push\nAuthorization: Bearer x"}  # fmt: skip
    result = it.test("trigger", sample)

    output = json.loads(result.output)
    assert (output["body"], output["query"], output["method"]) == ({"a": 1}, {"b": "2"}, "POST")
    assert output["headers"]["x-github-event"] == "push"
    assert "would start an execution" in result.error
    assert "Bearer x" not in it.page("trigger/")
    assert json.loads(it.test("tested").output)["value"] == "1 2"
    assert not Execution.objects.exists()


def test_trigger_test_says_when_conditions_are_not_met(bench: Callable[..., Bench]) -> None:
    it = bench(step("wait", "for", {"amount": 1}))
    conditions = {"start-conditions-0-0-path": "trigger.body.type", "start-conditions-0-0-op": "equals",
                  "start-conditions-0-0-value": "order", "input-methods": "POST",
                  "rev": str(it.automation.draft_rev)}  # fmt: skip
    it.client.post(it.root + "trigger/", conditions)

    result = it.test("trigger", {"content_type": "application/json", "body": '{"type": "refund"}'})

    assert "would not start an execution" in result.error
    assert "trigger.body.type" in result.error


def test_sample_that_the_door_refuses_is_not_kept(bench: Callable[..., Bench]) -> None:
    it = bench(step("wait", "for", {"amount": 1}))

    answer = it.client.post(it.root + "trigger/test/", {"content_type": "application/json", "body": '{"a": '})

    assert answer.status_code == 422
    page = answer.content.decode()
    assert "would refuse this request with 400" in page
    assert "{&quot;a&quot;: " in page
    assert not StepTest.objects.exists()


def test_latest_execution_gives_the_sample(
    bench: Callable[..., Bench], make_execution: Callable[..., Execution]
) -> None:
    it = bench(step("transform", "template", {"template": "{{ trigger.body.a }}"}))
    payload = {"method": "POST", "query": {}, "headers": {}, "body": {"a": "from before"}}
    execution = make_execution(automation=it.automation)
    StepRun.objects.create(
        execution=execution, attempt=0, key="trigger", iteration="", organization_id=execution.organization_id,
        position=0, status=StepStatus.SUCCESS, connector="http", action="request", started_at=execution.run_at,
        input=json.dumps(payload),
    )  # fmt: skip

    result = it.test("trigger", {"latest": "1"})

    assert json.loads(result.output) == payload
    assert json.loads(it.test("tested").output)["value"] == "from before"


def test_latest_execution_is_asked_for_in_vain_when_there_is_none(bench: Callable[..., Bench]) -> None:
    it = bench(step("wait", "for", {"amount": 1}))

    answer = it.client.post(it.root + "trigger/test/", {"latest": "1"}, follow=True)

    assert "no executions yet" in answer.content.decode()
    assert not StepTest.objects.exists()

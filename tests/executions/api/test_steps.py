from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from automations.models import Automation
from executions import sealed_json
from executions.api import steps
from executions.models import Attempt, Execution, Payload
from executions.secret_forms import Mask
from executions.states import Status
from projects import sealing
from projects.models import Organization
from tests.support.api import BODY, Api, make_failed, make_step, path_of

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]
type MakeAutomation = Callable[..., Automation]


@pytest.fixture
def api(builder: User, organization: Organization) -> Api:
    return Api(builder, organization.uid)


@pytest.fixture
def failed(make_execution: MakeExecution) -> Execution:
    return make_failed(make_execution)


# --- steps


def test_steps_show_the_current_attempts_payloads_exactly(api: Api, failed: Execution) -> None:
    answer = api.get(path_of(failed, "/steps"))

    assert answer["attempt"] == 2
    assert [(step["key"], step["output"]) for step in answer["steps"]] == [
        ("trigger", None),
        ("fetch", {"try": 2}),
        ("tell", {"status": 503}),
    ]
    assert answer["steps"][0]["input"] == {"body": BODY}
    assert answer["steps"][0]["input_is_whole"] is True
    assert answer["steps"][2]["error"] == "Answered 503."
    assert answer["steps"][2]["is_outside"] is True


def test_steps_show_an_earlier_attempt_when_asked(api: Api, failed: Execution) -> None:
    found = api.get(path_of(failed, "/steps"), attempt="1")["steps"]

    assert [(step["key"], step["attempt"], step["output"]) for step in found] == [
        ("trigger", 0, None),
        ("fetch", 1, {"try": 1}),
    ]


@pytest.mark.parametrize("query", ["attempt=0", "attempt=3", "attempt=x", "key=%00", "limit=101", "skip=-1"])
def test_steps_refuse_a_bad_parameter(api: Api, failed: Execution, query: str) -> None:
    assert api.error(path_of(failed, f"/steps?{query}")) == (422, "invalid_parameter")


def test_steps_show_one_step_when_asked(api: Api, failed: Execution) -> None:
    assert [step["key"] for step in api.get(path_of(failed, "/steps"), key="tell")["steps"]] == ["tell"]
    assert api.get(path_of(failed, "/steps"), key="nothing")["steps"] == []
    assert [step["key"] for step in api.get(path_of(failed, "/steps"), skip="1", limit="1")["steps"]] == ["fetch"]


def test_steps_mask_secrets(api: Api, make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.SUCCESS)
    make_step(
        execution,
        "fetch",
        output=sealed_json.sealed({"echo": "Bearer s3cr3t-value"}, [Mask(["s3cr3t-value"])], execution.pk),
    )

    [step] = api.get(path_of(execution, "/steps"))["steps"]

    assert step["output"] == {"echo": f"Bearer {sealing.MASK}"}


def test_steps_show_a_large_payload_whole(api: Api, make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.SUCCESS)
    whole = make_large(execution)

    [step] = api.get(path_of(execution, "/steps"))["steps"]

    assert step["output"] == whole
    assert step["output_is_whole"] is True


def test_steps_cut_what_no_longer_fits(
    api: Api, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "WHOLE_LIMIT", 1000)
    execution = make_execution(status=Status.SUCCESS)
    make_large(execution)

    [step] = api.get(path_of(execution, "/steps"))["steps"]

    assert step["output_is_whole"] is False
    assert step["output"].startswith('"xxx') and len(step["output"]) == sealed_json.EXCERPT
    assert step["input"] == {"url": "https://example.com/"}


def make_large(execution: Execution) -> str:
    whole = "x" * sealed_json.ROW_LIMIT
    text = sealed_json.dumps(whole)
    run = make_step(execution, "fetch", output=text[: sealed_json.EXCERPT], output_bytes=len(text))
    Payload.objects.create(
        execution=execution, attempt=run.attempt, key=run.key, iteration=run.iteration, side="output",
        organization_id=execution.organization_id, body=text,
    )  # fmt: skip
    return whole


# --- retry


def test_retry_starts_the_next_attempt(api: Api, failed: Execution, builder: User) -> None:
    answer = api.ask("POST", f"/v1/{path_of(failed, '/retry')}")

    assert answer.status_code == 202
    shown = answer.json()
    assert (shown["id"], shown["status"], shown["attempt"], shown["retries_left"]) == (
        str(failed.pk), "pending", 3, 0,
    )  # fmt: skip
    assert [detail["name"] for detail in shown["details"]] == ["1"]
    assert Attempt.objects.get(execution_id=failed.pk).retried_by == builder
    assert shown["updated_at"] > shown["created_at"]


def test_retry_is_refused_with_its_code(
    api: Api, failed: Execution, automation: Automation, make_execution: MakeExecution
) -> None:
    def refusal(execution: Execution) -> tuple[int, str]:
        answer = api.ask("POST", f"/v1/{path_of(execution, '/retry')}")
        return answer.status_code, answer.json()["error"]["code"]

    assert refusal(make_execution(status=Status.SUCCESS)) == (409, "not_retryable")
    assert refusal(make_execution(status=Status.FAILED, attempt=3)) == (409, "retry_limit_reached")
    automation.deactivate()
    assert refusal(failed) == (409, "automation_inactive")
    automation.make_trigger("http", "request")
    assert refusal(failed) == (409, "trigger_replaced")
    stored = Execution.objects.get(pk=failed.pk)
    assert (stored.state, stored.attempt) == (Status.FAILED, 2)

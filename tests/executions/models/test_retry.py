from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from automations.models import Automation
from executions.models import Attempt, Execution
from executions.models.retry import RetryRefused
from executions.states import Kind, Lane, Status
from harness.factory import publish
from projects.models import Project
from tests.support.markup import compact

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]
type MakeAutomation = Callable[..., Automation]

RESPONSE: dict[str, Any] = {"key": "answer", "connector": "response", "action": "send", "input": {"status": "200"}}


@pytest.fixture
def failed(make_execution: MakeExecution) -> Execution:
    now = timezone.now()
    return make_execution(
        status=Status.FAILED, reason_code="http_status", reason="Answered 503.", started_at=now, finished_at=now,
        steps=2, connectors="http", deaths=1, ran_ms=40, is_counted=True, claim=3, rev=7,
    )  # fmt: skip


def retry_url(execution: Execution) -> str:
    return f"/projects/{execution.project_id}/executions/{execution.pk}/retry/"


def test_retry_starts_the_next_attempt_in_place(failed: Execution, builder: User) -> None:
    failed.retry(builder)

    stored = Execution.objects.get(pk=failed.pk)
    assert (stored.state, stored.attempt, stored.lane) == (Status.PENDING, 2, Lane.DIRECT)
    assert (stored.reason, stored.reason_code, stored.connectors, stored.steps) == ("", "", "", 0)
    assert (stored.started_at, stored.finished_at, stored.ran_ms, stored.deaths) == (None, None, 0, 0)
    assert (stored.rev, stored.claim, stored.is_counted) == (8, 3, True)


def test_retry_keeps_the_attempt_before(failed: Execution, builder: User) -> None:
    failed.retry(builder)

    kept = Attempt.objects.get(execution_id=failed.pk)
    assert (kept.number, kept.state, kept.reason, kept.steps) == (1, Status.FAILED, "Answered 503.", 2)
    assert kept.retried_by == builder


def test_retry_takes_the_version_and_time_limit_that_are_live_now(failed: Execution, automation: Automation) -> None:
    publish(automation, steps=[{"key": "fetch", "connector": "http", "action": "request"}])
    Automation.objects.filter(pk=automation.pk).update(time_limit_s=60)

    Execution.objects.get(pk=failed.pk).retry(None)

    stored = Execution.objects.get(pk=failed.pk)
    assert (stored.version.number, stored.time_limit_s) == (2, 60)
    assert Attempt.objects.get(execution_id=failed.pk).version.number == 1


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.FAILED], ids=lambda s: s.name)
def test_retry_is_refused_when_the_execution_is_not_failed(make_execution: MakeExecution, status: Status) -> None:
    execution = make_execution(status=status)

    assert refused(execution) == "not_retryable"


def test_retry_is_refused_when_it_is_an_agents(make_execution: MakeExecution) -> None:
    assert refused(make_execution(status=Status.FAILED, kind=Kind.AGENT_TASK)) == "not_retryable"


def test_retry_is_refused_when_both_are_used_up(make_execution: MakeExecution) -> None:
    assert refused(make_execution(status=Status.FAILED, attempt=3)) == "retry_limit_reached"


def test_retry_is_refused_when_the_version_that_ran_answers_its_caller(
    make_automation: MakeAutomation, make_execution: MakeExecution
) -> None:
    automation = make_automation("Answers", steps=[RESPONSE])
    execution = make_execution(automation=automation, status=Status.FAILED)
    publish(automation, steps=[{**RESPONSE, "connector": "http", "action": "request"}])

    assert refused(execution) == "has_response_step"


def test_retry_is_refused_when_the_live_version_answers_its_caller(failed: Execution, automation: Automation) -> None:
    publish(automation, steps=[RESPONSE])

    assert refused(failed) == "has_response_step"


def test_retry_is_refused_when_the_trigger_was_replaced(failed: Execution, automation: Automation) -> None:
    automation.make_trigger("http", "request")

    assert refused(failed) == "trigger_replaced"


def test_retry_is_allowed_when_the_trigger_was_only_reconfigured(failed: Execution, automation: Automation) -> None:
    automation.rotate_secret()

    assert failed.retry_refusal() is None


def test_retry_is_refused_when_the_automation_is_not_active(failed: Execution, automation: Automation) -> None:
    automation.deactivate()

    assert refused(failed) == "automation_inactive"


def test_retry_is_refused_when_the_automation_is_deleted(failed: Execution, automation: Automation) -> None:
    automation.delete()

    assert refused(failed) == "automation_inactive"


def test_retry_happens_once_when_two_people_ask(failed: Execution, builder: User) -> None:
    seen_by_another = Execution.objects.get(pk=failed.pk)
    failed.retry(builder)

    with pytest.raises(RetryRefused) as refusal:
        seen_by_another.retry(builder)

    assert refusal.value.code == "not_retryable"
    assert Execution.objects.get(pk=failed.pk).attempt == 2
    assert Attempt.objects.filter(execution_id=failed.pk).count() == 1


def test_retry_is_refused_when_the_attempt_that_was_seen_is_over(failed: Execution, builder: User) -> None:
    seen_by_another = Execution.objects.get(pk=failed.pk)
    failed.retry(builder)
    Execution.objects.filter(pk=failed.pk).update(status=Status.FAILED)

    with pytest.raises(RetryRefused):
        seen_by_another.retry(builder)

    assert Execution.objects.get(pk=failed.pk).attempt == 2


@pytest.mark.django_db(transaction=True)
def test_retry_happens_once_when_many_ask_at_once(failed: Execution) -> None:
    start = Barrier(4)

    def ask(_: int) -> str:
        execution = Execution.objects.get(pk=failed.pk)
        start.wait()
        try:
            execution.retry(None)
        except RetryRefused as refusal:
            return refusal.code
        finally:
            connection.close()
        return "retried"

    with ThreadPoolExecutor(4) as threads:
        answers = sorted(threads.map(ask, range(4)))

    assert answers == ["not_retryable", "not_retryable", "not_retryable", "retried"]
    assert Execution.objects.get(pk=failed.pk).attempt == 2


def test_the_button_retries_and_the_row_changes_in_place(failed: Execution, builder: User, client: Client) -> None:
    client.force_login(builder)

    answer = client.post(retry_url(failed), headers={"HX-Request": "true", "HX-Request-Type": "partial"})

    html = compact(answer.content.decode())
    assert answer.status_code == 200
    assert f'<hx-partial hx-target="#execution-{failed.pk}"' in html
    assert 'data-status="pending"' in html
    assert Execution.objects.get(pk=failed.pk).attempt == 2


def test_the_button_works_without_scripts(failed: Execution, builder: User, client: Client) -> None:
    client.force_login(builder)

    answer = client.post(retry_url(failed), follow=True)

    assert answer.redirect_chain == [(f"/projects/{failed.project_id}/executions/{failed.pk}/", 302)]
    assert "2 of 3" in answer.content.decode()


def test_a_refusal_is_told_and_changes_nothing(
    failed: Execution, automation: Automation, builder: User, client: Client
) -> None:
    client.force_login(builder)
    automation.deactivate()

    answer = client.post(retry_url(failed), headers={"HX-Request": "true", "HX-Request-Type": "partial"})

    assert "The automation is not active. Activate it, then retry." in answer.content.decode()
    assert Execution.objects.get(pk=failed.pk).attempt == 1


def test_the_button_retries_once_when_it_is_pressed_twice(failed: Execution, builder: User, client: Client) -> None:
    client.force_login(builder)
    client.post(retry_url(failed), {"attempt": "1"})
    Execution.objects.filter(pk=failed.pk).update(status=Status.FAILED)

    answer = client.post(
        retry_url(failed), {"attempt": "1"}, headers={"HX-Request": "true", "HX-Request-Type": "partial"}
    )

    assert "has already been retried" in answer.content.decode()
    assert Execution.objects.get(pk=failed.pk).attempt == 2


def test_retry_is_not_for_others(failed: Execution, stranger: User, client: Client) -> None:
    assert client.post(retry_url(failed)).status_code == 302
    client.force_login(stranger)

    assert client.post(retry_url(failed)).status_code == 404
    assert Execution.objects.get(pk=failed.pk).state is Status.FAILED


def test_retry_wants_a_post(failed: Execution, builder: User, client: Client) -> None:
    client.force_login(builder)

    assert client.get(retry_url(failed)).status_code == 405


def test_retry_is_not_found_under_another_project(
    failed: Execution, builder: User, project: Project, client: Client
) -> None:
    other = Project.objects.create(organization=project.organization, name="Second")
    client.force_login(builder)

    assert client.post(f"/projects/{other.pk}/executions/{failed.pk}/retry/").status_code == 404


def refused(execution: Execution) -> str:
    """Return the code, after seeing that the page and the verb agree and that nothing has changed."""
    execution = Execution.objects.get(pk=execution.pk)
    refusal = execution.retry_refusal()
    with pytest.raises(RetryRefused) as raised:
        execution.retry(None)
    stored = Execution.objects.get(pk=execution.pk)
    assert refusal is not None
    assert (refusal.code, refusal.sentence) == (raised.value.code, raised.value.sentence)
    assert (stored.status, stored.attempt, stored.rev) == (execution.status, execution.attempt, execution.rev)
    assert not Attempt.objects.filter(execution_id=execution.pk).exists()
    return refusal.code

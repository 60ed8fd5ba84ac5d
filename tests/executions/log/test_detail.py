"""The page of one execution."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from automations.models import Version
from executions.models import Engine, Execution, StepRun
from executions.states import Status
from tests.support.pages import text_of, url_of

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]
type MakeStep = Callable[..., StepRun]


@pytest.mark.parametrize("status", [Status.PAUSED, Status.FAILED])
def test_an_execution_whose_version_cannot_be_read_is_shown_all_the_same(
    visitor: Client, make_execution: MakeExecution, status: Status
) -> None:
    execution = make_execution(
        status=status, reason="This release of AgentOS cannot read the version of the automation."
    )
    Version.objects.update(definition={"format": 2})

    assert execution.reason in text_of(visitor, url_of(execution))


def test_the_pop_up_and_the_page_are_one_partial(visitor: Client, failed: Execution) -> None:
    page = text_of(visitor, url_of(failed))
    fragment = text_of(visitor, url_of(failed), **{"HX-Request": "true", "HX-Request-Type": "partial"})

    assert "<html" in page
    assert "<html" not in fragment
    for part in (
        f'id="detail-{failed.pk}"',
        'id="step-fetch"',
        'aria-label="Code"',
        "Retry Execution",
        "2 of 2 retries left",
    ):
        assert part in page
        assert part in fragment


def test_restored_history_is_a_whole_page(visitor: Client, failed: Execution) -> None:
    headers = {"HX-Request": "true", "HX-History-Restore-Request": "true"}

    assert "<html" in text_of(visitor, url_of(failed), **headers)


def test_a_failure_says_why_and_what_to_do(visitor: Client, failed: Execution, settings: Settings) -> None:
    settings.SUPPORT_EMAIL = "help@example.com"

    page = text_of(visitor, url_of(failed))

    assert "Step “Fetch” failed: answered 503." in page
    assert "The cause is outside AgentOS. Once the other service has recovered, retry." in page
    assert f"mailto:help@example.com?subject=Execution%20{failed.pk}" in page


def test_support_is_not_offered_when_the_cause_is_the_builders(
    visitor: Client, failed: Execution, settings: Settings
) -> None:
    settings.SUPPORT_EMAIL = "help@example.com"
    StepRun.objects.filter(execution_id=failed.pk).update(is_external=False)

    page = text_of(visitor, url_of(failed))

    assert "Contact support" not in page
    assert "Repair the step in the builder, publish the change, then retry." in page


def test_a_success_says_so_and_offers_no_retry(visitor: Client, make_execution: MakeExecution) -> None:
    page = text_of(visitor, url_of(make_execution(status=Status.SUCCESS)))

    assert "Executed successfully, attempt 1" in page
    assert "Retry Execution" not in page


def test_every_attempt_stays_readable(visitor: Client, failed: Execution, builder: User, make_step: MakeStep) -> None:
    failed.retry(builder)
    Execution.objects.filter(pk=failed.pk).update(status=Status.SUCCESS)
    make_step(failed, "fetch", attempt=2, title="Fetch again")

    second, first = text_of(visitor, url_of(failed)), text_of(visitor, url_of(failed, "?attempt=1"))

    assert "Executed successfully, attempt 2" in second
    assert "by builder" in second
    assert "Fetch again" in second
    assert "Step “Fetch” failed: answered 503." in first
    assert "Fetch again" not in first
    assert "Retry Execution" not in first


@pytest.mark.parametrize("attempt", ["0", "2", "-1", "x", "9" * 40])
def test_an_attempt_that_never_was_is_not_found(visitor: Client, failed: Execution, attempt: str) -> None:
    assert visitor.get(url_of(failed, f"?attempt={attempt}")).status_code == 404


def test_pending_says_that_no_worker_runs(visitor: Client, make_execution: MakeExecution) -> None:
    assert "No worker is running. Start the cluster" in text_of(visitor, url_of(make_execution()))


def test_pending_says_that_it_waits_when_workers_are_busy(visitor: Client, make_execution: MakeExecution) -> None:
    Engine.objects.create(host="here", boot_id="b", pid=1)

    assert "The execution waits for a free worker." in text_of(visitor, url_of(make_execution()))


def test_a_dead_workers_beat_is_not_believed(visitor: Client, make_execution: MakeExecution) -> None:
    Engine.objects.create(host="here", boot_id="b", pid=1, beat_at=timezone.now() - timedelta(seconds=11))

    assert "No worker is running" in text_of(visitor, url_of(make_execution()))


@pytest.mark.parametrize("status", Status, ids=lambda status: status.name)
def test_only_what_is_under_way_asks_again(visitor: Client, make_execution: MakeExecution, status: Status) -> None:
    page = text_of(visitor, url_of(make_execution(status=status)))

    assert ('hx-trigger="live"' in page) is (status in (Status.PENDING, Status.RUNNING, Status.PAUSED))


def test_asking_again_is_empty_until_something_changes(
    visitor: Client, make_execution: MakeExecution, make_step: MakeStep
) -> None:
    execution = make_execution(status=Status.RUNNING)
    again = re.search(r'hx-get="([^"]+seen=[^"]+)"', text_of(visitor, url_of(execution)))
    assert again

    assert visitor.get(again[1], headers={"HX-Request": "true", "HX-Request-Type": "partial"}).status_code == 204
    make_step(execution, "fetch")
    assert visitor.get(again[1], headers={"HX-Request": "true", "HX-Request-Type": "partial"}).status_code == 200


def test_steps_that_were_not_reached_are_named(visitor: Client, make_execution: MakeExecution) -> None:
    page = text_of(visitor, url_of(make_execution(status=Status.REJECTED)))

    assert re.search(r"Fetch</span><span class=\"end\">Not run", page)


def test_the_page_asks_no_more_for_more_steps(
    visitor: Client, failed: Execution, make_step: MakeStep, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        make_step(failed, f"step_{number}", position=number + 2)

    with django_assert_num_queries(6) as asked:
        visitor.get(url_of(failed))

    statements = [query["sql"] for query in asked.captured_queries]
    assert not any('"input"' in sql or "executions_payload" in sql for sql in statements)


def test_an_execution_is_not_for_others(client: Client, failed: Execution, stranger: User) -> None:
    urls = [url_of(failed), url_of(failed, "steps/0/trigger/input/"), url_of(failed, "steps/0/trigger/input/?download")]
    assert [client.get(url).status_code for url in urls] == [302, 302, 302]
    client.force_login(stranger)

    assert [client.get(url).status_code for url in urls] == [404, 404, 404]

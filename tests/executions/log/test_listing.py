"""The rows and pages of the log."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from automations.models import Automation
from executions.models import Execution
from executions.states import Status
from projects.models import Project
from tests.support.pages import rows, text_of

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]


def test_the_newest_execution_stands_first(visitor: Client, log_url: str, make_execution: MakeExecution) -> None:
    first, second = make_execution(), make_execution()

    assert rows(visitor, log_url) == [second.pk, first.pk]


@pytest.mark.parametrize("status", Status, ids=lambda status: status.name)
def test_a_row_says_its_status_in_words(
    visitor: Client, log_url: str, make_execution: MakeExecution, status: Status
) -> None:
    make_execution(status=status)

    html = text_of(visitor, log_url)

    assert re.search(rf'<span class="badge" data-status="{status.code}">.*?<span>{status.label}</span>', html)


def test_a_row_says_steps_connectors_duration_and_attempt(
    visitor: Client, log_url: str, make_execution: MakeExecution
) -> None:
    now = timezone.now()
    make_execution(
        status=Status.SUCCESS, started_at=now, finished_at=now + timedelta(seconds=1.25), steps=4, attempt=2,
        connectors="http,transform",
    )  # fmt: skip

    html = text_of(visitor, log_url)

    assert all(part in html for part in (">1.2 s<", ">4<", ">2 of 3<", 'title="HTTP"', 'title="Transform"'))


@pytest.mark.parametrize(
    ("status", "attempt", "is_offered"),
    [(Status.FAILED, 1, True), (Status.FAILED, 2, True), (Status.FAILED, 3, False), (Status.SUCCESS, 1, False)],
)
def test_info_stands_beside_failed_until_the_retries_are_used_up(
    visitor: Client, log_url: str, make_execution: MakeExecution, *, status: Status, attempt: int, is_offered: bool
) -> None:
    make_execution(status=status, attempt=attempt)

    assert ('aria-label="Info"' in text_of(visitor, log_url)) is is_offered


def test_pages_go_on_from_the_last_row(visitor: Client, log_url: str, make_execution: MakeExecution) -> None:
    made = [make_execution().pk for _ in range(53)][::-1]
    first = rows(visitor, log_url)
    make_execution()  # does not shift the next page

    second = rows(visitor, f"{log_url}?before={first[-1]}")

    assert first == made[:50]
    assert second == made[50:]


def test_an_unused_log_says_how_to_start(visitor: Client, log_url: str) -> None:
    assert "No executions yet" in text_of(visitor, log_url)


def test_a_log_without_a_match_says_so(visitor: Client, log_url: str, make_execution: MakeExecution) -> None:
    make_execution()

    assert "No execution matches" in text_of(visitor, f"{log_url}?status=failed")


@pytest.mark.parametrize("count", [1, 40])
def test_the_log_asks_no_more_for_more_rows(
    visitor: Client, log_url: str, make_execution: MakeExecution,
    django_assert_num_queries: DjangoAssertNumQueries, count: int,
) -> None:  # fmt: skip
    for _ in range(count):
        make_execution(status=Status.FAILED)

    with django_assert_num_queries(6) as asked:
        visitor.get(log_url)

    statements = [query["sql"] for query in asked.captured_queries]
    assert not any("COUNT(" in sql.upper() or "steprun" in sql or "executions_payload" in sql for sql in statements)
    assert not any('"draft"' in sql for sql in statements)


def test_the_log_is_not_for_others(client: Client, log_url: str, stranger: User) -> None:
    assert client.get(log_url).status_code == 302
    client.force_login(stranger)

    for url in (log_url, f"{log_url}delta/", log_url.replace("executions/", "usage/")):
        assert client.get(url).status_code == 404


def test_last_executions_are_marks_from_old_to_new(
    visitor: Client, project: Project, automation: Automation, make_execution: MakeExecution
) -> None:
    for status in (Status.FAILED, Status.SUCCESS):
        make_execution(status=status)

    html = text_of(visitor, f"/projects/{project.pk}/automations/{automation.pk}/last-executions/")

    assert re.findall(r'class="last-run bar-(\w+)"', html) == ["failed", "success"]

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from automations.models import Automation
from executions.models import Execution
from executions.states import Status
from projects.ids import first_id_at
from projects.models import Project

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]
type MakeAutomation = Callable[..., Automation]

ROW = re.compile(r'<tr id="execution-([0-9a-f-]{36})" data-rev="(\d+)"')


@pytest.fixture
def visitor(client: Client, builder: User) -> Client:
    client.force_login(builder)
    return client


@pytest.fixture
def log_url(project: Project) -> str:
    return f"/projects/{project.pk}/executions/"


def rows(client: Client, url: str) -> list[uuid.UUID]:
    answer = client.get(url)
    assert answer.status_code == 200
    return [uuid.UUID(uid) for uid, _ in ROW.findall(answer.content.decode())]


def text_of(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.content.decode())


def id_at(moment: datetime) -> uuid.UUID:
    return uuid.UUID(int=first_id_at(moment).int + 1)


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


def test_filters_narrow_by_several_statuses(visitor: Client, log_url: str, make_execution: MakeExecution) -> None:
    made = {status: make_execution(status=status).pk for status in Status}

    found = rows(visitor, f"{log_url}?status=failed&status=rejected")

    assert set(found) == {made[Status.FAILED], made[Status.REJECTED]}


def test_filters_narrow_by_automation(
    visitor: Client, log_url: str, make_execution: MakeExecution, make_automation: MakeAutomation
) -> None:
    other = make_automation("Other")
    make_execution()
    wanted = make_execution(automation=other)

    assert rows(visitor, f"{log_url}?automation={other.pk}") == [wanted.pk]


def test_a_deleted_automation_is_still_named_and_filtered(
    visitor: Client, log_url: str, make_execution: MakeExecution, automation: Automation
) -> None:
    execution = make_execution()
    automation.delete()

    assert rows(visitor, f"{log_url}?automation={automation.pk}") == [execution.pk]
    assert "Orders (deleted)" in text_of(visitor, f"{log_url}?automation={automation.pk}")


@pytest.mark.parametrize(("chosen", "count"), [("", 4), ("24h", 1), ("7d", 2), ("30d", 3)])
def test_filters_narrow_by_a_range_up_to_now(
    visitor: Client, log_url: str, make_execution: MakeExecution, *, chosen: str, count: int
) -> None:
    for days in (0, 2, 20, 40):
        make_execution(id=id_at(timezone.now() - timedelta(days=days, minutes=5)))

    assert len(rows(visitor, f"{log_url}?range={chosen}")) == count


def test_filters_narrow_by_a_range_of_ones_own_in_utc(
    visitor: Client, log_url: str, make_execution: MakeExecution
) -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC)
    before, inside, at_the_end = (make_execution(id=id_at(day + timedelta(hours=hour))) for hour in (11, 12, 13))

    found = rows(visitor, f"{log_url}?range=custom&from=2026-03-01T12:00&to=2026-03-01T13:00")

    assert found == [inside.pk]
    assert rows(visitor, f"{log_url}?from=2026-03-01T11:30:00Z") == [at_the_end.pk, inside.pk]
    assert before.pk not in found


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("status=nonsense", "nonsense is not one of the available choices"),
        ("automation=nonsense", "This is not the id of an automation."),
        (f"automation={uuid.UUID(int=1)}", "This project has no such automation."),
        ("range=nonsense", "nonsense is not one of the available choices"),
        ("from=yesterday", "Enter a valid date/time."),
        ("from=2026-03-02&to=2026-03-01", "The end must be after the start."),
        ("automation=%00", "This is not the id of an automation."),
    ],
)
def test_a_bad_filter_is_told_and_the_log_stays(
    visitor: Client, log_url: str, make_execution: MakeExecution, *, query: str, error: str
) -> None:
    execution = make_execution()

    html = text_of(visitor, f"{log_url}?{query}")

    assert error in html
    assert f"execution-{execution.pk}" in html


def test_the_automation_of_another_project_is_none(
    visitor: Client, log_url: str, project: Project, make_automation: MakeAutomation, make_execution: MakeExecution
) -> None:
    other = Project.objects.create(organization=project.organization, name="Second")
    foreign = make_automation("Foreign", project=other)
    make_execution()

    html = text_of(visitor, f"{log_url}?automation={foreign.pk}")

    assert "This project has no such automation." in html
    assert "Foreign" not in html


def test_filters_say_how_many_are_set_and_clear_them(
    visitor: Client, log_url: str, make_execution: MakeExecution
) -> None:
    make_execution()

    assert "Clear filters (2)" in text_of(visitor, f"{log_url}?status=failed&status=pending&range=24h")
    assert "Clear filters" not in text_of(visitor, log_url)


def test_pages_go_on_from_the_last_row(visitor: Client, log_url: str, make_execution: MakeExecution) -> None:
    made = [make_execution().pk for _ in range(53)][::-1]
    first = rows(visitor, log_url)
    make_execution()  # does not shift the next page

    second = rows(visitor, f"{log_url}?before={first[-1]}")

    assert first == made[:50]
    assert second == made[50:]


def test_an_unused_log_says_how_to_start(visitor: Client, log_url: str) -> None:
    assert "Nothing has run yet" in text_of(visitor, log_url)


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


# --- live


def test_delta_is_empty_when_nothing_has_changed(visitor: Client, log_url: str, make_execution: MakeExecution) -> None:
    execution = make_execution()

    answer = visitor.get(f"{log_url}delta/?rows={execution.pk}:1")

    assert (answer.status_code, answer.content) == (204, b"")


def test_delta_brings_the_rows_that_have_changed(visitor: Client, log_url: str, make_execution: MakeExecution) -> None:
    changed, unchanged = make_execution(status=Status.SUCCESS, rev=3), make_execution()

    html = visitor.get(f"{log_url}delta/?rows={changed.pk}:1,{unchanged.pk}:1&status=pending").content.decode()

    assert f'<hx-partial hx-target="#execution-{changed.pk}" hx-swap="outerMorph">' in html
    assert str(unchanged.pk) not in html
    assert 'data-status="success"' in html
    assert "new execution" not in html


def test_delta_counts_new_executions_that_match(visitor: Client, log_url: str, make_execution: MakeExecution) -> None:
    shown = make_execution(status=Status.FAILED)
    make_execution(status=Status.FAILED)
    make_execution(status=Status.SUCCESS)

    html = text_of(visitor, f"{log_url}delta/?rows={shown.pk}:1&status=failed")

    assert 'hx-target="#live-new"' in html
    assert "1 new execution<" in html
    assert f'href="{log_url}?status=failed"' in html


def test_delta_counts_no_further_than_99(visitor: Client, log_url: str, make_execution: MakeExecution) -> None:
    for _ in range(101):
        make_execution()

    assert "99+ new executions" in text_of(visitor, f"{log_url}delta/")


def test_delta_does_not_count_what_stands_on_older_pages(
    visitor: Client, log_url: str, make_execution: MakeExecution
) -> None:
    for _ in range(52):
        make_execution()
    shown = ",".join(f"{uid}:1" for uid in rows(visitor, log_url))

    assert visitor.get(f"{log_url}delta/?rows={shown}").status_code == 204


def test_delta_of_an_older_page_counts_nothing_new(
    visitor: Client, log_url: str, make_execution: MakeExecution
) -> None:
    execution = make_execution()
    make_execution()

    assert visitor.get(f"{log_url}delta/?rows={execution.pk}:1&before={execution.pk}").status_code == 204


@pytest.mark.parametrize("junk", ["", "x", "x:y", "%00:1", f"{uuid.UUID(int=1)}:{'9' * 30}", ",,,:"])
def test_delta_leaves_out_what_it_does_not_understand(visitor: Client, log_url: str, junk: str) -> None:
    assert visitor.get(f"{log_url}delta/?rows={junk}").status_code == 204


def test_delta_never_brings_rows_of_another_project(
    visitor: Client, log_url: str, project: Project, make_automation: MakeAutomation, make_execution: MakeExecution
) -> None:
    other = Project.objects.create(organization=project.organization, name="Second")
    foreign = make_execution(automation=make_automation("Foreign", project=other), rev=5)

    assert visitor.get(f"{log_url}delta/?rows={foreign.pk}:1").status_code == 204


def test_last_executions_are_marks_from_old_to_new(
    visitor: Client, project: Project, automation: Automation, make_execution: MakeExecution
) -> None:
    for status in (Status.FAILED, Status.SUCCESS):
        make_execution(status=status)

    html = text_of(visitor, f"/projects/{project.pk}/automations/{automation.pk}/last-executions/")

    assert re.findall(r'class="last-run bar-(\w+)"', html) == ["failed", "success"]

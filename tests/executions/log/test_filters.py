"""The log's filters."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from automations.models import Automation
from executions.models import Execution
from executions.states import Status
from projects.ids import first_id_at
from projects.models import Project
from tests.support.pages import rows, text_of

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]
type MakeAutomation = Callable[..., Automation]


def id_at(moment: datetime) -> uuid.UUID:
    return uuid.UUID(int=first_id_at(moment).int + 1)


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
        ("status=nonsense", "must be one of the choices, not “nonsense”"),
        ("automation=nonsense", "Automation must be the id of an automation."),
        (f"automation={uuid.UUID(int=1)}", "This project has no such automation."),
        ("range=nonsense", "must be one of the choices, not “nonsense”"),
        ("from=yesterday", "From must be a date and time"),
        ("from=2026-03-02&to=2026-03-01", "The end must be after the start."),
        ("automation=%00", "Automation must be the id of an automation."),
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

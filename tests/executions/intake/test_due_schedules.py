"""What one engine starts by the clock: a round at a time, and one that cannot be started holds up no other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from automations.models import Automation, Schedule, Version
from executions.intake.due_schedules import DueSchedules
from executions.models import Execution, StepRun

# Daily, half a day from now, so that none fires by itself while a test runs.
NOON = (datetime.now(UTC) - timedelta(hours=12)).replace(minute=0, second=0, microsecond=0)

SHIFTED = """
CREATE SCHEMA shifted;
CREATE FUNCTION shifted.now() RETURNS timestamptz STABLE LANGUAGE sql
    AS $$ SELECT pg_catalog.now() + interval '{0} seconds' $$;
CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql
    AS $$ SELECT pg_catalog.clock_timestamp() + interval '{0} seconds' $$;
SET search_path = shifted, pg_catalog, public;
"""

type MakeDue = Callable[..., Automation]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def make_due(make_automation: Callable[..., Automation]) -> MakeDue:
    """Return a function that makes a live daily schedule that has been due for some days."""

    def make(name: str = "Due", *, days: int = 0, missed: str = "once") -> Automation:
        config = {"unit": "days", "interval": 1, "at": f"{NOON:%H:%M}", "missed": missed}
        automation = make_automation(name, trigger={"connector": "schedule", "event": "fires", "config": config})
        Schedule.objects.filter(trigger=automation.trigger).update(next_at=NOON - timedelta(days=days))
        return automation

    return make


@pytest.fixture(params=[-30, 30])
def of_database(request: pytest.FixtureRequest, db: None) -> Iterator[timedelta]:
    """Return how far ahead of this machine's clock the database's is, for the rest of the test."""
    if connection.vendor != "postgresql":
        pytest.skip("the clock of an SQLite database is its machine's")
    with connection.cursor() as cursor:
        cursor.execute(SHIFTED.format(request.param))
        yield timedelta(seconds=request.param)
        cursor.execute("RESET search_path; DROP SCHEMA shifted CASCADE")


def fire_times(automation: Automation) -> list[datetime]:
    """Return the fire times that have an execution."""
    executions = Execution.objects.filter(automation=automation).values("id")
    inputs = StepRun.objects.filter(execution_id__in=executions).values_list("input", flat=True)
    return sorted(datetime.fromisoformat(json.loads(given or "")["scheduled_at"]) for given in inputs)


@pytest.mark.parametrize(("schedules", "each", "missed"), [(60, 1, "once"), (12, 100, "all")])
def test_there_is_more_after_a_round_when_much_is_due_at_once(
    make_due: MakeDue, schedules: int, each: int, missed: str
) -> None:
    for number in range(schedules):
        make_due(f"Due {number}", days=100, missed=missed)
    due = DueSchedules()

    assert due.start_due() == 0
    assert 0 < Execution.objects.count() < schedules * each

    assert any(due.start_due() for _ in range(9)), "there is always more"
    assert Execution.objects.count() == schedules * each


def test_one_that_cannot_be_started_holds_up_no_other(make_due: MakeDue, caplog: pytest.LogCaptureFixture) -> None:
    broken = make_due("Broken", days=3)  # the first in line
    others = [make_due(f"Other {number}", days=number) for number in range(3)]
    assert broken.trigger and broken.live_version
    readable = broken.live_version.definition
    trigger = readable["trigger"] | {"config": readable["trigger"]["config"] | {"time_zone": "Nowhere/Else"}}
    version = Version.objects.filter(pk=broken.live_version.pk)
    version.update(definition=readable | {"trigger": trigger})
    due = DueSchedules()

    assert any(due.start_due() for _ in range(9)), "there is always more"

    assert [len(fire_times(automation)) for automation in (broken, *others)] == [0, 1, 1, 1]
    assert Schedule.objects.get(trigger=broken.trigger).next_at == NOON - timedelta(days=3)
    assert [record.message for record in caplog.records if broken.trigger.uid in record.message]
    version.update(definition=readable)
    due.start_due()
    assert fire_times(broken) == []
    due.left_alone = dict.fromkeys(due.left_alone, 0.0)  # a minute has passed
    due.start_due()
    assert fire_times(broken) == [NOON]


def test_a_fire_time_that_has_made_an_execution_makes_no_other_among_many(make_due: MakeDue) -> None:
    automation = make_due(days=100, missed="all")
    DueSchedules().start_due()

    Schedule.objects.update(next_at=NOON - timedelta(days=99))
    DueSchedules().start_due()

    assert fire_times(automation) == [NOON - timedelta(days=ago) for ago in reversed(range(100))]


@pytest.mark.parametrize("due_in_s", [-1, 10])
def test_the_databases_clock_says_what_is_due(make_due: MakeDue, of_database: timedelta, due_in_s: int) -> None:
    automation = make_due()
    at = datetime.now(UTC) + of_database + timedelta(seconds=due_in_s)
    Schedule.objects.update(next_at=at)
    due = DueSchedules()

    for _ in range(2):
        next_in = due.start_due()

        assert next_in is not None
        assert (due_in_s - 5 < next_in <= due_in_s) if due_in_s > 0 else next_in > 3600
    assert fire_times(automation) == ([at.replace(microsecond=0)] if due_in_s < 0 else [])
    latest = datetime.now(UTC) + of_database
    assert not Execution.objects.filter(run_at__gt=latest).exists(), "it waits until this machine's time has come"

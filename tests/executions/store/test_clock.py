"""What follows the database's clock when it has been set back; tests of real clusters are beside the engine's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from automations.models import Automation, Schedule
from executions.intake.due_schedules import DueSchedules
from executions.models import Clock, Execution, Firing
from executions.states import Lane, Status
from executions.store import store
from projects.ids import new_id

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def set_back() -> Callable[[], None]:
    """Return a function that lets a beat find the database's clock set back by an hour."""

    def follow() -> None:
        Clock.objects.update_or_create(id=1, defaults={"seen_at": timezone.now() + HOUR})
        with store().transaction():
            store().follow_clock()

    return follow


def test_each_execution_that_waits_for_a_time_moves_once(
    set_back: Callable[[], None], make_execution: Callable[..., Execution]
) -> None:
    ahead = timezone.now() + HOUR + timedelta(days=2)
    waiting = [
        make_execution(status=Status.PAUSED, run_at=ahead),
        make_execution(run_at=ahead, is_due=True),
        make_execution(run_at=ahead, lane=Lane.THROTTLED),
    ]
    running = make_execution(status=Status.RUNNING, run_at=ahead)

    set_back()
    with store().transaction():
        store().follow_clock()

    for execution in waiting:
        execution.refresh_from_db()
        assert ahead - HOUR - timedelta(seconds=1) < execution.run_at < ahead - HOUR + MINUTE
    running.refresh_from_db()
    assert running.run_at == ahead


@pytest.mark.parametrize(
    ("rule", "goes_on"),
    [
        ({"unit": "minutes", "interval": 1}, True),
        ({"unit": "hours", "interval": 1}, True),
        ({"unit": "cron", "cron": "*/2 * * * *"}, True),
        ({"unit": "cron", "cron": "*/2 0-23 * * *"}, False),
        ({"unit": "days", "interval": 1}, False),
    ],
)
def test_what_repeats_within_the_day_goes_on_in_an_hour_that_comes_twice(
    set_back: Callable[[], None], make_automation: Callable[..., Automation], rule: dict[str, object], goes_on: bool
) -> None:
    trigger = make_automation(trigger={"connector": "schedule", "event": "fires", "config": rule}).trigger
    assert trigger is not None
    now, ids = timezone.now(), {"organization_id": new_id(), "execution_id": new_id()}
    has_run = [now + timedelta(minutes=minutes) for minutes in (-5, 0.5, 20)]
    Firing.objects.bulk_create(Firing(trigger_id=trigger.uid, fires_at=at, **ids) for at in has_run)
    Schedule.objects.update(next_at=now + HOUR)

    set_back()
    DueSchedules().start_due()

    next_at = Schedule.objects.get().next_at
    assert now < next_at < now + timedelta(days=2)
    assert rule["unit"] == "days" or next_at < now + HOUR + MINUTE
    assert Firing.objects.count() == (2 if goes_on else 3)
    assert not Execution.objects.exists()

"""What a copy has under way, and the two ways on: `manage.py restored` resumes it or ends it (docs/backup.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone
from pydantic import ValidationError

from automations.models import Schedule
from connectors.schedule.fire_times import next_fire_time
from executions.housekeeping import limit_notices
from executions.models import ALIVE, Engine, Execution, stopping
from executions.states import OPEN, Status
from executions.stop import Stop
from executions.store import store
from projects import quiet
from projects.models import Organization

CODE, REASON = "restored", "Restored from a copy"
BATCH = 500  # executions that one transaction ends
NOT_SUCCESS = ~Q(status=Status.SUCCESS)  # the condition of the partial indexes


class EnginesRun(Exception):
    """Engines run on this database, so it is not quiet: what they hold is theirs."""


@dataclass(frozen=True, slots=True)
class FireTime:
    at: datetime
    name: str


@dataclass(slots=True)
class UnderWay:
    """What an installation would resume, fire and send; executions are counted by organization and status."""

    executions: dict[str, dict[Status, int]] = field(default_factory=dict)
    schedules: int = 0
    first_fire_times: list[FireTime] = field(default_factory=list)
    notices: int = 0

    @property
    def total(self) -> int:
        return sum(sum(counts.values()) for counts in self.executions.values())


def under_way(*, fire_times: int) -> UnderWay:
    """Return what would go on, with the first `fire_times` of its schedules."""
    found = UnderWay(schedules=Schedule.objects.count(), notices=len(limit_notices.due_notices()))
    open_ones = Execution.objects.filter(NOT_SUCCESS, status__in=OPEN).order_by()
    names = dict(Organization.objects.values_list("pk", "name"))
    for uid, status, count in open_ones.values_list("organization_id", "status").annotate(count=Count("id")):
        found.executions.setdefault(f"{names.get(uid, '?')} ({uid})", {})[Status(status)] = count
    first = Schedule.objects.select_related("trigger__automation__project").order_by("next_at")[:fire_times]
    for schedule in first:
        automation = schedule.trigger.automation
        found.first_fire_times.append(FireTime(schedule.next_at, f"{automation.project} / {automation}"))
    return found


def go_on() -> int:
    """Make this place the home of the data and give Running executions back; return how many of those there were.

    Engines then begin within seconds. Raise EnginesRun.
    """
    with transaction.atomic():
        _check_no_engine()
        given = store().end_all()
        quiet.settle()
    return given


def reject() -> int:
    """End all executions that have not ended, skip the fire times that have passed, and go on; return their number.

    Raise EnginesRun. When it is interrupted, the installation stays quiet, and the next call does the rest.
    """
    with transaction.atomic():
        _check_no_engine()
        store().end_all()  # Running ones wait now, too
    ended = 0
    while rejected := stopping.stop_all(Execution.objects.all(), Stop(CODE, REASON), limit=BATCH):
        ended += rejected
    with transaction.atomic():
        for trigger_uid, next_at in _missed(timezone.now()):
            store().set_schedule(trigger_uid, next_at)
        go_on()
    return ended


def _missed(now: datetime) -> Iterator[tuple[str, datetime | None]]:
    """Yield the schedules that are due with their next fire time to come; not those that this release cannot read."""
    for schedule in Schedule.objects.filter(next_at__lte=now).select_related("trigger__automation__live_version"):
        try:
            rule = schedule.trigger.automation.live_rule
        except ValidationError:
            continue
        if rule:
            yield schedule.trigger_id, next_fire_time(rule, now)


def _check_no_engine() -> None:
    """Raise EnginesRun where QUIET alone keeps this process quiet, and those of the service do not have it."""
    if settings.QUIET and Engine.objects.filter(ALIVE).exists():
        raise EnginesRun

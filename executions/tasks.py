"""The tasks of django-q2: housekeeping in the main threads of workers, beside their engines.

django-q2 stores the path of a task's function, so a renamed function or module breaks tasks and schedules that are
stored already.
"""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from django_q.models import Schedule
from django_q.tasks import async_task

from executions.housekeeping import limit_notices, retention
from executions.models import stopping
from executions.store import partitions
from projects import quiet

BUDGET_S = 3  # seconds of one round of retention: a cluster that stops waits for its tasks about as long
SCHEDULES = {
    "retention": ("executions.tasks.remove_old", Schedule.HOURLY),
    "limits": ("executions.tasks.notify_of_limits", Schedule.MINUTES),  # each minute
    "cancellations": ("executions.tasks.cancel_of_deleted", Schedule.MINUTES),
}


def remove_old() -> str:
    """Do one round of retention, and queue another one if its time was too short; return a summary for django-q2."""
    if why := quiet.look():
        return why
    try:
        run = retention.begin()
    except retention.AlreadyRunning:
        return "retention is already running"
    retention.perform(run, budget_s=BUDGET_S)
    if not run.is_complete:
        async_task("executions.tasks.remove_old", task_name="retention")
    return ", ".join(f"{name} {count}" for name, count in run.counts.items() if count) or "nothing to remove"


def notify_of_limits() -> str:
    """Send the due e-mails about limits; return a summary for django-q2."""
    return quiet.look() or limit_notices.looks.look()


def cancel_of_deleted() -> str:
    """Cancel the executions of automations that were deleted with this wish; return a summary for django-q2."""
    return "more are left" if stopping.stop_deleted(budget_s=BUDGET_S) else "nothing is left"


def make_schedules() -> None:
    """Make each schedule that is missing and delete doubles, also when several clusters start at the same time."""
    with partitions.one_at_a_time(1):
        for name, (function, kind) in SCHEDULES.items():
            first, *more = Schedule.objects.filter(func=function).order_by("pk") or [None]
            if first is None:
                soon = timezone.now() + timedelta(minutes=1)
                Schedule.objects.create(name=name, func=function, schedule_type=kind, minutes=1, next_run=soon)
            for schedule in more:
                schedule.delete()

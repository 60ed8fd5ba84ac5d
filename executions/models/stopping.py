"""Stopping executions: those that wait end at once, those that run are asked to (executions/stop.py)."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.db.models import BooleanField, Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Now
from django.utils import timezone

from automations.models import Automation
from executions.models.execution import Execution
from executions.models.step_run import StepRun
from executions.states import FINAL, OPEN, WAITING, Lane, Status, StepStatus, check_move
from executions.stop import Stop, cancelled_by
from executions.store import store
from projects.ids import made_at

SHARD = 16  # the usage counters' shard of those that end here: engines, which hold theirs while they lock, have 0 to 15


ROUND = 200  # executions that one transaction ends, at most
SETTLED_AFTER = timedelta(minutes=5)
ANOTHER_ATTEMPT = "The attempt that you saw has ended, and another one has begun. It is shown below."


class AlreadyEnded(Exception):
    """There is nothing to stop; `sentence` says why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


def stop(execution: Execution, request: Stop, *, attempt: int | None = None) -> Status:
    """End the execution if it waits, ask it to end if it runs; return the status that it has then.

    A second request changes nothing. Raise AlreadyEnded when it has ended otherwise, or when `attempt`, the one that
    the person saw, is not the present one.
    """
    with transaction.atomic():
        # Locked, so that a claim, an engine's result or a retry comes either before this or after it.
        current = Execution.objects.select_for_update().get(pk=execution.pk)
        if attempt is not None and attempt != current.attempt:
            raise AlreadyEnded(ANOTHER_ATTEMPT)
        if current.state in FINAL and current.reason_code == request.code:
            return current.state
        if current.state in FINAL:
            raise AlreadyEnded(f"This execution has already ended: it is {current.state.label}.")
        if current.state in WAITING:
            _end([current], request)
            return Status.REJECTED
        _ask(Execution.objects.filter(pk=current.pk), request)
        return current.state


def stop_all(executions: QuerySet[Execution], request: Stop, *, limit: int) -> int:
    """End or ask up to `limit` of the executions that have not ended, in one transaction; return their number.

    Those that somebody else has locked are left for the next call: to wait for several at once could be a deadlock.
    """
    with transaction.atomic():
        unasked = _open(executions).exclude(status=Status.RUNNING, stop_code__isnull=False)
        found = list(unasked.select_for_update(skip_locked=True).order_by()[:limit])  # to sort all would take long
        _end([execution for execution in found if execution.state in WAITING], request)
        running = [execution.pk for execution in found if execution.state is Status.RUNNING]
        _ask(Execution.objects.filter(pk__in=running), request)
        return len(found)


def stop_deleted(automation: uuid.UUID | None = None, *, budget_s: float) -> bool:
    """Cancel the executions of deleted automations (of one, or of all) that were deleted with this wish.

    Return whether more may be left when `budget_s` seconds are over. A wish is forgotten when nothing is left a while
    after the deletion: until then an execution may still arrive that was accepted at the same moment.
    """
    until = time.monotonic() + budget_s
    deleted = Automation.objects.filter(cancels_for__isnull=False, deleted_at__isnull=False)
    for one in deleted.filter(pk=automation) if automation else deleted.order_by("deleted_at"):
        own = Execution.objects.filter(automation=one)
        while stop_all(own, cancelled_by(one.cancels_for or ""), limit=ROUND):
            if time.monotonic() > until:
                return True
        if one.deleted_at and timezone.now() - one.deleted_at > SETTLED_AFTER and not _open(own).exists():
            Automation.objects.filter(pk=one.pk).update(cancels_for=None)
    return False


def _open(executions: QuerySet[Execution]) -> QuerySet[Execution]:
    return executions.filter(~Q(status=Status.SUCCESS), status__in=OPEN)  # the first as in the partial indexes


def _ask(running: QuerySet[Execution], request: Stop) -> None:
    unasked = running.filter(stop_code=None)
    unasked.update(stop_code=request.code, stop_reason=request.reason, rev=F("rev") + 1)


def _end(waiting: list[Execution], request: Stop) -> None:
    """Reject executions that wait and are locked. One that had started counts, another's reservation goes back."""
    for source in {execution.state for execution in waiting}:
        check_move(source, Status.REJECTED)
    places = _places(waiting)
    has_counted = Case(When(started_at__isnull=False, then=Value(True)), default=F("is_counted"),
                       output_field=BooleanField())  # fmt: skip
    for place in set(places.values()):
        Execution.objects.filter(pk__in=[pk for pk, where in places.items() if where == place]).update(
            status=Status.REJECTED, reason_code=request.code, reason=request.at(place), finished_at=Now(),
            is_counted=has_counted, is_due=True, rev=F("rev") + 1,
        )  # fmt: skip
    if begun := [execution.pk for execution in waiting if execution.started_at]:
        store().close_steps(begun)
    _count(waiting)
    if any(execution.lane == Lane.SYNC for execution in waiting):
        store().notify_reply()


def _places(waiting: Iterable[Execution]) -> dict[uuid.UUID, str]:
    """Return, by id, where each execution stops, as the end of its reason."""
    places = {execution.pk: _place(execution) for execution in waiting}
    paused = StepRun.objects.filter(execution_id__in=list(places), status=StepStatus.PAUSED)
    for run in paused.only("title", "key", "error_code", "execution_id", "attempt", "iteration"):
        where = "before the next try of" if run.error_code else "while it waited in"
        places[run.execution_id] = f"{where} step “{run.title or run.key}”"
    return places


def _place(execution: Execution) -> str:
    return "before it started" if execution.started_at is None else "while it waited for a worker"


def _count(ended: Iterable[Execution]) -> None:
    uncounted = [execution for execution in ended if not execution.is_counted]
    used = Counter(
        (one.organization_id, one.project_id, one.automation_id, one.accepted_at.date(), Status.REJECTED.value)
        for one in uncounted
        if one.started_at
    )
    store().add_usage(SHARD, used)
    unused = Counter(
        (one.organization_id, made_at(one.pk).date().replace(day=1)) for one in uncounted if one.started_at is None
    )
    for (organization_id, month), amount in sorted(unused.items()):
        store().give_back(organization_id, month, amount)

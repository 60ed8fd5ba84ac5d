"""The reason why an execution is Pending: the limit that holds it back, its place in line, and the expected start."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from executions.models import Execution, ExecutionQuerySet
from executions.models.pace import Pace
from executions.states import Lane, Status
from executions.store.rows import SUSPECT
from projects.models import Organization

PLACES = 10_000  # places in line that are counted for one execution's page
PLACES_IN_LOG = 1000  # places in line that are counted once for all rows of the log


@dataclass(frozen=True, slots=True)
class Waiting:
    """`short` names the limit in a row of the log, `sentence` explains it on the execution's page."""

    short: str
    sentence: str
    place: int | None = None
    is_beyond: bool = False  # the place lies beyond those counted: place and start are lower bounds
    expected_start: datetime | None = None

    @property
    def place_in_words(self) -> str:
        return f"{self.place:,}{'+' if self.is_beyond else ''}" if self.place else ""

    @property
    def etag(self) -> str:
        """Return a text that changes whenever the visible place or start does; a start in the past counts as now."""
        start = self.expected_start if self.expected_start and self.expected_start > timezone.now() else None
        return f"{self.place}.{start:%H%M%S}" if start else f"{self.place}."


def why_pending(execution: Execution) -> Waiting | None:
    """Return the limit that an execution waits for, or None when it waits only for a free worker."""
    if execution.state is not Status.PENDING:
        return None
    if execution.lane == Lane.THROTTLED:
        organization = Organization.objects.get(pk=execution.organization_id)
        before = _executions_in_line(organization.pk).filter(
            Q(run_at__lt=execution.run_at) | Q(run_at=execution.run_at, id__lt=execution.pk)
        )
        return _throttled(organization, _paced_at(organization), before[:PLACES].count(), PLACES)
    return _not_throttled(execution)


def why_each_pending(organization: Organization, executions: Iterable[Execution]) -> dict[uuid.UUID, Waiting]:
    """Return the same by id for the rows of one organization's log, in three queries at most."""
    pending = [execution for execution in executions if execution.state is Status.PENDING]
    found = {execution.pk: _not_throttled(execution) for execution in pending}
    throttled = [execution.pk for execution in pending if execution.lane == Lane.THROTTLED]
    if throttled:
        at, line = _paced_at(organization), _executions_in_line(organization.pk).order_by("run_at", "id")
        places = {pk: place for place, pk in enumerate(line.values_list("pk", flat=True)[:PLACES_IN_LOG])}
        for pk in throttled:
            found[pk] = _throttled(organization, at, places.get(pk, PLACES_IN_LOG), PLACES_IN_LOG)
    return {pk: waiting for pk, waiting in found.items() if waiting}


def _executions_in_line(organization_id: uuid.UUID) -> ExecutionQuerySet:
    return Execution.objects.filter(organization=organization_id, status=Status.PENDING, lane=Lane.THROTTLED)


def _paced_at(organization: Organization) -> datetime:
    """Return when the organization's next throttled execution may start."""
    last = Pace.objects.filter(pk=organization.pk).values_list("throttle_at", flat=True).first()
    now = timezone.now()
    return max(now, last + timedelta(seconds=1 / organization.throttle_rate)) if last else now


def _throttled(organization: Organization, next_at: datetime, before: int, limit: int) -> Waiting:
    rate = organization.throttle_rate
    seconds = f"{rate:g} start per second" if rate == 1 else f"{rate:g} starts per second"
    return Waiting(
        short="Throttled",
        sentence=f"Throttled: all throttled automations of {organization.name} share {seconds}.",
        place=min(before + 1, limit),
        is_beyond=before >= limit,
        expected_start=next_at + timedelta(seconds=before / rate),
    )


def _not_throttled(execution: Execution) -> Waiting | None:
    if execution.suspicion >= SUSPECT:
        return Waiting(
            "Waits for a separate worker", "This execution waits for a separate worker, because its worker died twice."
        )
    if execution.lane == Lane.DIRECT and execution.reason_code == "direct_limit" and execution.run_at > timezone.now():
        return Waiting("Direct starts used up", execution.reason, expected_start=execution.run_at)
    return None

"""The database's account of the posted requests."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from executions.models import Execution, StepRun
from executions.states import FINAL, Status
from projects.ids import first_id_at, made_at

OPEN = [status for status in Status if status not in FINAL]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The outcome of a series of posts."""

    rows: int
    missing: int  # accepted, but without a row
    stuck: int  # without a final status at the deadline
    not_success: int
    first_started_at: float
    last_finished_at: float


def running() -> int:
    return Execution.objects.filter(status=Status.RUNNING).count()


def wait_until_final(since: float, limit_s: float, look: Callable[[], None] = lambda: None) -> None:
    """Wait until no execution accepted since then is open, or the limit is over; call `look` at every turn."""
    deadline = time.monotonic() + limit_s
    query = Execution.objects.filter(id__gte=_first_id(since), status__in=OPEN)
    while query.exists() and time.monotonic() < deadline:
        look()
        time.sleep(0.1)


def tally(since: float, accepted: list[str]) -> Tally:
    fields = ("id", "status", "started_at", "finished_at")
    rows = list(Execution.objects.filter(id__gte=_first_id(since)).values_list(*fields))
    ended = [row for row in rows if row[1] in FINAL]
    return Tally(
        rows=len(rows),
        missing=len({uuid.UUID(text) for text in accepted} - {row[0] for row in rows}),
        stuck=len(rows) - len(ended),
        not_success=sum(row[1] != Status.SUCCESS for row in ended),
        first_started_at=min((row[2].timestamp() for row in rows if row[2]), default=0.0),
        last_finished_at=max((row[3].timestamp() for row in ended if row[3]), default=0.0),
    )


def wait_until_ended(ids: list[str], limit_s: float) -> None:
    """Wait until all these executions have ended, or the limit is over."""
    deadline = time.monotonic() + limit_s
    while Execution.objects.filter(id__in=ids, status__in=OPEN).exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def end_ms(ids: list[str]) -> list[float]:
    """Return the time from acceptance to the end of each of these executions, or to now for those still open."""
    now, found = datetime.now(UTC), Execution.objects.in_bulk(ids).values()
    return [((one.finished_at or now) - made_at(one.pk)) / timedelta(milliseconds=1) for one in found]


def fate(ids: list[str]) -> tuple[int, int]:
    """Return how many of these executions are missing, and how many are still open."""
    found = Execution.objects.in_bulk(ids).values()
    return len(ids) - len(found), sum(one.status in OPEN for one in found)


def first_step_ms(since: float) -> list[float]:
    """Return for each execution the time from its acceptance, which its id tells, to its first step's start."""
    starts = StepRun.objects.filter(execution_id__gte=_first_id(since), attempt=1, position=1)
    return [
        (started_at - made_at(execution_id)) / timedelta(milliseconds=1)
        for execution_id, started_at in starts.values_list("execution_id", "started_at")
    ]


def _first_id(since: float) -> uuid.UUID:
    return first_id_at(datetime.fromtimestamp(since, UTC))

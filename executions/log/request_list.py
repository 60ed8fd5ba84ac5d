"""What became of every request at an automation's trigger URLs: one list of executions and receipts, and their sum.

An execution is its own receipt; the sum comes from counters, so it also holds what is no longer, or never was, written.
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db.models import QuerySet, Sum

from automations.models import Automation
from executions.models import Execution, Outcome, Receipt, ReceiptDay
from executions.states import Lane
from projects.ids import first_id_at, made_at

ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class Line:
    """One request; `execution` is what it started or repeated, as long as it is kept."""

    id: uuid.UUID
    outcome: Outcome
    http_status: int | None  # None: as the Response step replied
    code: str = ""
    reason: str = ""
    execution_id: uuid.UUID | None = None
    execution: Execution | None = None

    @property
    def received_at(self) -> datetime:
        return made_at(self.id)

    @property
    def words(self) -> str:
        return self.reason or ("This delivery has been received before." if self.outcome is Outcome.DUPLICATE else "")

    @property
    def rev(self) -> int:
        """Return what grows with every visible change: only the execution that a request started changes."""
        return self.execution.rev if self.execution and self.outcome is Outcome.EXECUTED else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which requests of an automation."""

    automation: Automation
    outcome: Outcome | None = None
    start: datetime | None = None
    end: datetime | None = None

    @property
    def executions(self) -> QuerySet[Execution]:
        found = self._within(Execution.objects.filter(automation=self.automation))
        return found if self.outcome in (None, Outcome.EXECUTED) else found.none()

    @property
    def receipts(self) -> QuerySet[Receipt]:
        found = self._within(Receipt.objects.filter(automation=self.automation))
        if self.outcome is Outcome.EXECUTED:
            return found.none()  # an execution is its own receipt
        return found if self.outcome is None else found.filter(outcome=self.outcome)

    def _within[Q: QuerySet[Any]](self, rows: Q) -> Q:
        if self.start:
            rows = rows.filter(id__gte=first_id_at(self.start))
        return rows.filter(id__lt=first_id_at(self.end)) if self.end else rows

    def newest(self, limit: int, *, before: uuid.UUID | None = None) -> list[Line]:
        """Return one page's worth, newest first; `before` is the cursor, the id of the last line seen."""
        executions, receipts = self.executions, self.receipts
        if before:
            executions, receipts = executions.filter(id__lt=before), receipts.filter(id__lt=before)
        lines = [line_of(execution) for execution in executions.order_by("-id")[:limit]]
        lines += _with_executions(list(receipts.order_by("-id")[:limit]))
        return sorted(lines, key=lambda line: line.id, reverse=True)[:limit]

    def count_others(self, shown: list[uuid.UUID], limit: int, *, is_full: bool) -> int:
        """Count up to a limit those that are not shown on the newest page, but belong there."""
        count = 0
        for rows in (self.executions, self.receipts):
            missing = rows.exclude(pk__in=shown)
            if is_full:
                missing = missing.filter(pk__gt=min(shown))
            count += len(missing.order_by("-id").values_list("pk")[:limit])
        return min(count, limit)


def line_of(execution: Execution) -> Line:
    http_status = None if execution.lane == Lane.SYNC else ACCEPTED
    return Line(execution.pk, Outcome.EXECUTED, http_status, execution_id=execution.pk, execution=execution)


def _with_executions(receipts: list[Receipt]) -> list[Line]:
    firsts = Execution.objects.in_bulk([receipt.execution_id for receipt in receipts if receipt.execution_id])
    return [
        Line(
            receipt.pk, Outcome(receipt.outcome), receipt.http_status, receipt.code, receipt.reason,
            receipt.execution_id, firsts.get(receipt.execution_id) if receipt.execution_id else None,
        )
        for receipt in receipts
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Balance:
    """What was received at an automation's trigger URLs: the sum of what became of it."""

    counts: Counter[Outcome] = field(default_factory=Counter)

    @property
    def received(self) -> int:
        return self.counts.total()

    @property
    def terms(self) -> list[tuple[Outcome, int]]:
        return [(outcome, self.counts[outcome]) for outcome in Outcome]


def balance(automation: Automation, days: int) -> Balance:
    """Return the balance of the last days, today's (UTC) included."""
    rows = ReceiptDay.objects.filter(automation=automation, day__gte=first_day(days))
    summed = rows.order_by().values_list("outcome").annotate(total=Sum("count"))
    return Balance(Counter({Outcome(outcome): total for outcome, total in summed}))


def first_day(days: int) -> date:
    return datetime.now(UTC).date() - timedelta(days=days - 1)


def start_of(days: int) -> datetime:
    return datetime.combine(first_day(days), datetime.min.time(), UTC)

"""All requests at an automation's trigger URLs: one list of executions and receipts, and totals by outcome.

An execution is its own receipt. The totals come from counters, so that they include requests whose rows were removed
or never written.
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

ACCEPTED = 202  # HTTP status of an accepted request without a Response step


@dataclass(frozen=True, slots=True)
class RequestLine:
    """One request; `execution` is the one that it started or repeated, None without one or after its removal."""

    id: uuid.UUID
    outcome: Outcome
    http_status: int | None  # None: the Response step chose it
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
        """Return a number that grows with every visible change; only a request that started an execution changes."""
        return self.execution.rev if self.execution and self.outcome is Outcome.EXECUTED else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search among an automation's requests; None leaves a condition out."""

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

    def newest(self, limit: int, *, before: uuid.UUID | None = None) -> list[RequestLine]:
        """Return up to `limit` requests, newest first; `before` is the cursor, the id of the last line shown."""
        executions, receipts = self.executions, self.receipts
        if before:
            executions, receipts = executions.filter(id__lt=before), receipts.filter(id__lt=before)
        # `limit` rows of each table are enough for the newest `limit` of both.
        lines = [line_of(execution) for execution in executions.order_by("-id")[:limit]]
        lines += _with_executions(list(receipts.order_by("-id")[:limit]))
        return sorted(lines, key=lambda line: line.id, reverse=True)[:limit]

    def missing[Q: QuerySet[Any]](self, rows: Q, shown: list[uuid.UUID], *, is_full: bool) -> Q:
        """Return those of the found executions or receipts that belong on the newest page and are not shown there."""
        missing = rows.exclude(pk__in=shown)
        if is_full:  # older ones belong on the next page
            missing = missing.filter(pk__gt=min(shown))
        return missing.order_by("-id")


def line_of(execution: Execution) -> RequestLine:
    http_status = None if execution.lane == Lane.SYNC else ACCEPTED
    return RequestLine(execution.pk, Outcome.EXECUTED, http_status, execution_id=execution.pk, execution=execution)


def _with_executions(receipts: list[Receipt]) -> list[RequestLine]:
    """Return receipts as lines, each with the execution that it repeats, if any."""
    firsts = Execution.objects.in_bulk([receipt.execution_id for receipt in receipts if receipt.execution_id])
    return [
        RequestLine(
            receipt.pk, Outcome(receipt.outcome), receipt.http_status, receipt.code, receipt.reason,
            receipt.execution_id, firsts.get(receipt.execution_id) if receipt.execution_id else None,
        )
        for receipt in receipts
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class RequestTotals:
    """The requests received at an automation's trigger URLs, as a sum of the numbers for each outcome."""

    counts: Counter[Outcome] = field(default_factory=Counter)

    @property
    def received(self) -> int:
        return self.counts.total()

    @property
    def terms(self) -> list[tuple[Outcome, int]]:
        return [(outcome, self.counts[outcome]) for outcome in Outcome]


def request_totals(automation: Automation, days: int) -> RequestTotals:
    """Return the totals of the last `days` days (UTC), today included."""
    summed = counters(automation, days).values_list("outcome").annotate(total=Sum("count"))
    return RequestTotals(Counter({Outcome(outcome): total for outcome, total in summed}))


def counters(automation: Automation, days: int) -> QuerySet[ReceiptDay]:
    return ReceiptDay.objects.filter(automation=automation, day__gte=first_day(days)).order_by()


def first_day(days: int) -> date:
    return datetime.now(UTC).date() - timedelta(days=days - 1)


def start_of(days: int) -> datetime:
    """Return the beginning (UTC) of the last `days` days, today included."""
    return datetime.combine(first_day(days), datetime.min.time(), UTC)

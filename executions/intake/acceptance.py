"""Accept requests: one transaction checks revisions, duplicates and limits of many requests and stores them all."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from functools import cache
from typing import Any

from django.db import Error, connection

from executions.intake.fair_threads import FairThreads, Join
from executions.intake.live_trigger import LiveTrigger
from executions.intake.lost_answer import Commit, InDoubt
from executions.models import Outcome
from executions.states import Lane, Status
from executions.stop import CANCELLED
from executions.store import errors, store
from executions.store.rows import DeliveryId, First, LiveRow, NewExecution, NewReceipt
from projects.ids import made_at, new_id

logger = logging.getLogger(__name__)

SHARDS = 16  # rows of each receipt counter, so that web processes do not wait for each other's row
LIMIT_REACHED = (
    "The organization has reached its hard limit of executions for this month. The count restarts on the 1st (UTC)."
)
KEY_REUSED = "Another request has already used this Idempotency-Key."
WRITTEN_A_MINUTE = 300  # refusals of one trigger that a process stores each minute; further ones are only counted


class Stale(Exception):
    """The automation has changed since the request was checked: check the request again."""


class LimitReached(Exception):
    """The organization's hard limit of this month is used up."""


class Duplicate(Exception):
    """The delivery has made an execution before; `is_same` says whether its content was the same then.

    `first` is what has become of that execution; None when retention has removed it.
    """

    def __init__(self, execution_id: uuid.UUID, first: First | None, *, is_same: bool) -> None:
        super().__init__(execution_id)
        self.execution_id = execution_id
        self.first = first
        self.is_same = is_same


class Acceptance:
    """The requests of one transaction; `refused` holds, by execution id, the reason why one is not stored."""

    def __init__(self, items: Sequence[NewExecution | NewReceipt]) -> None:
        self.items = list(items)
        self.executions: list[NewExecution] = []
        self.refused: dict[uuid.UUID, Exception] = {}
        self.receipts: list[NewReceipt] = []
        self.live: dict[uuid.UUID, LiveRow] = {}
        self.attempt = Commit()

    def commit(self, join: Join[NewExecution | NewReceipt]) -> None:
        """Store the requests, and those that `join` adds, in one transaction."""
        begun_at = time.monotonic()
        with store().pipeline():
            self.attempt = Commit(store().session(), begun_at)
            self.items += join()
            self.executions = [item for item in self.items if isinstance(item, NewExecution)]
            if self.executions:
                self.store()
            self.receipts = [item for item in self.items if isinstance(item, NewReceipt)] + self._receipts_of_refused()
            store().insert_receipts(self.receipts)
            store().count_receipts(os.getpid() % SHARDS, self.accepted, self.receipts)
            self.attempt.is_sent = True

    def is_stored(self) -> bool:
        """Return whether the commit took place although it raised an error; raise InDoubt when nobody can know."""
        return self.attempt.took_place(self._is_found)

    def _is_found(self) -> bool:
        """Return whether one row of the transaction is stored: all are, or none."""
        for execution in self.accepted:
            return store().has_execution(execution.id)
        for receipt in self.receipts:
            if receipt.is_written:
                return store().has_receipt(receipt.id)
        return False

    @property
    def accepted(self) -> list[NewExecution]:
        return [execution for execution in self.executions if execution.id not in self.refused]

    def store(self) -> None:
        """Refuse executions by revision, duplicate and limit, in this order, and store the others."""
        self.live = store().live({execution.automation_id for execution in self.executions})
        for execution in self.executions:
            row = self.live.get(execution.automation_id)
            if row is None or row.live_rev != execution.live_rev:
                self.refused[execution.id] = Stale()
            else:
                execution.accept(row)
        self._refuse_duplicates()
        self._refuse_over_limit()
        self._postpone_direct_starts()
        if accepted := self.accepted:
            store().insert_executions(accepted)

    def _refuse_duplicates(self) -> None:
        """Refuse the repetitions of a delivery, in this batch and within the organization's window."""
        named = [execution for execution in self.accepted if execution.delivery]
        if not named:
            return
        firsts = {(item.trigger_uid, item.delivery.key): item for item in reversed(named) if item.delivery}
        until = {first.id: self.live[first.automation_id].forgets_at for first in firsts.values()}
        remembered = store().remember_deliveries(list(firsts.values()), until)
        new = {first.id: First(Status.PENDING, "", first.lane, 1) for first in firsts.values()}
        earlier = {first_id for first_id, _ in remembered.values()} - new.keys()
        known = new | (store().firsts(earlier) if earlier else {})
        for execution in named:
            delivery = execution.delivery
            assert delivery is not None
            first_id, fingerprint = remembered[execution.trigger_uid, delivery.key]
            if first_id == execution.id:
                continue
            duplicate = Duplicate(first_id, known.get(first_id), is_same=fingerprint == delivery.fingerprint)
            if _starts_again(execution, delivery, duplicate):
                store().turn_delivery(execution)
                remembered[execution.trigger_uid, delivery.key] = execution.id, delivery.fingerprint
                known[execution.id] = First(Status.PENDING, "", execution.lane, 1)
            else:
                self.refused[execution.id] = duplicate

    def _refuse_over_limit(self) -> None:
        """Reserve the month's executions; refuse those beyond the organization's hard limit."""
        left = store().reserve_each(Counter(_month_of(execution) for execution in self.accepted))
        for execution in self.accepted:
            key = _month_of(execution)
            if left[key] <= 0:
                self._refuse_with_repetitions(execution)
            left[key] -= 1

    def _refuse_with_repetitions(self, execution: NewExecution) -> None:
        """Refuse an execution over the limit, and the repetitions of its delivery, which now repeat nothing."""
        self.refused[execution.id] = LimitReached()
        if execution.delivery:
            store().forget_delivery(execution.trigger_uid, execution.delivery.key)
            for id, why in self.refused.items():
                if isinstance(why, Duplicate) and why.execution_id == execution.id:
                    self.refused[id] = LimitReached()

    def _postpone_direct_starts(self) -> None:
        """Postpone direct starts beyond their organization's limit of this minute to a later minute with room."""
        direct: dict[uuid.UUID, list[NewExecution]] = {}
        throttled: set[uuid.UUID] = set()
        for execution in self.accepted:
            if execution.lane is Lane.DIRECT and self.live[execution.automation_id].direct_limit is not None:
                direct.setdefault(execution.organization_id, []).append(execution)
            elif execution.lane is Lane.THROTTLED:
                throttled.add(execution.organization_id)
        for organization_id, executions in sorted(direct.items()):
            limit = self.live[executions[0].automation_id].direct_limit or 1
            minutes = store().place_direct(organization_id, len(executions), limit)
            for execution, minute in zip(executions, minutes, strict=True):
                execution.start_at(minute, limit)
        if throttled:
            store().make_paces(sorted(throttled))

    def _receipts_of_refused(self) -> list[NewReceipt]:
        """Return the receipts of the refused executions, except the stale ones, whose requests are checked again."""
        return [
            receipt
            for execution in self.executions
            if (why := self.refused.get(execution.id)) and (receipt := _receipt(execution, why))
        ]


def _starts_again(execution: NewExecution, delivery: DeliveryId, duplicate: Duplicate) -> bool:
    """Return whether a repetition starts a new execution: the first one ended badly and cannot be retried.

    One that a person cancelled stays cancelled, however often its sender repeats the delivery.
    """
    first = duplicate.first
    if not delivery.starts_again or first is None or (delivery.must_match and not duplicate.is_same):
        return False
    answers = Lane.SYNC in (first.lane, execution.lane)
    is_rejected = first.status is Status.REJECTED and first.reason_code != CANCELLED
    return is_rejected or (first.status is Status.FAILED and answers)


def _month_of(execution: NewExecution) -> tuple[uuid.UUID, date]:
    """Return the organization and the month (UTC) that the execution counts in."""
    return execution.organization_id, made_at(execution.id).date().replace(day=1)


def _receipt(execution: NewExecution, why: Exception) -> NewReceipt | None:
    """Return the receipt of a refused execution; None for a stale one, whose request is checked again."""
    match why:
        case Duplicate(is_same=False, execution_id=first) if execution.delivery and execution.delivery.must_match:
            return receipt_for(
                execution, Outcome.REFUSED, 422, "idempotency_key_reused", reason=KEY_REUSED, execution_id=first
            )
        case Duplicate(execution_id=first):
            return receipt_for(execution, Outcome.DUPLICATE, 202, "duplicate", reason="", execution_id=first)
        case LimitReached():
            return receipt_for(execution, Outcome.REFUSED, 429, "hard_limit", reason=LIMIT_REACHED)
        case _:
            return None


def receipt_for(
    source: NewExecution | LiveTrigger, outcome: Outcome, status: int, code: str, **fields: Any
) -> NewReceipt:
    """Return a new receipt of a request that made no execution, with the ids of `source`."""
    return NewReceipt(
        id=new_id(), organization_id=source.organization_id, project_id=source.project_id,
        automation_id=source.automation_id, trigger_uid=source.trigger_uid, outcome=outcome.value, http_status=status,
        code=code, **fields,
    )  # fmt: skip


def write(
    items: Sequence[NewExecution | NewReceipt], join: Join[NewExecution | NewReceipt] = tuple
) -> list[uuid.UUID | Exception]:
    """Store a batch, and the items that `join` adds, in one transaction.

    Return for each item its id, or the exception that says why it is not stored, or that nobody knows (InDoubt). Raise
    an error of the database only when nothing is stored.
    """
    acceptance = Acceptance(items)
    try:
        acceptance = _committed(acceptance, join)
    except InDoubt:
        return [InDoubt() for _ in acceptance.items]
    return [acceptance.refused.get(item.id, item.id) for item in acceptance.items]


def _committed(acceptance: Acceptance, join: Join[NewExecution | NewReceipt]) -> Acceptance:
    """Commit, on a new connection once more if the first one died: perhaps long before this batch.

    Return the acceptance that is stored. Raise InDoubt, or an error of the database when nothing is stored.
    """
    try:
        acceptance.commit(join)
        return acceptance
    except Error as error:
        if connection.in_atomic_block or not errors.fault_of(error).drops:
            raise
        logger.warning("accepting requests on a new database connection: %s", errors.in_words(error))
        if acceptance.is_stored():
            return acceptance
    second = Acceptance(acceptance.items)
    try:
        second.commit(tuple)
    except Error as error:
        if not errors.fault_of(error).drops or not second.is_stored():
            raise
    return second


@cache
def group_commit() -> FairThreads[NewExecution | NewReceipt, uuid.UUID]:
    """Return the process's one group commit, whose thread starts with the first request."""
    return FairThreads("intake", write)


async def leave_receipt(live: LiveTrigger, outcome: Outcome, status: int, code: str, reason: str) -> None:
    """Store the receipt of a request that made no execution; raise Unavailable when the database does not take it.

    Whether a receipt is stored that nobody knows of (InDoubt) makes no difference to the sender.
    """
    is_written = outcome is not Outcome.REFUSED or _is_written(live.trigger_uid, int(time.monotonic() // 60))
    receipt = receipt_for(live, outcome, status, code, reason=reason, is_written=is_written)
    with suppress(InDoubt):
        await group_commit().submit(receipt, live.organization_id).result()


_refusals: Counter[tuple[str, int]] = Counter()


def _is_written(trigger_uid: str, minute: int) -> bool:
    """Return whether a refusal becomes a row: the first WRITTEN_A_MINUTE do, so that a flood cannot fill the disk."""
    if len(_refusals) > 1000:  # bounds the memory; nearly all of these minutes are over
        _refusals.clear()
    _refusals[trigger_uid, minute] += 1
    return _refusals[trigger_uid, minute] <= WRITTEN_A_MINUTE

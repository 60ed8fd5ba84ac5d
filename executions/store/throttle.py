"""The throttled lane: N starts a second for each organization, first come first served, over all machines.

An organization's pace is one row, which an engine locks to start the organization's next executions. The row keeps the
time of the last start, not of the next one: a changed rate acts at once, and no outage ends in a burst.
"""

from __future__ import annotations

import math
import uuid
from abc import abstractmethod
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from executions.store.dialect import Answer, Row
from executions.store.limit_counters import LimitCounters
from executions.store.moves import IN_LINE, each_of
from executions.store.rows import Wanted, direct_limit_reason
from executions.store.shares import divide

LEEWAY_S = 0.05  # seconds that an engine may be late without delaying the next start too

JOIN_MOST = 1000  # executions that leave a line in one transaction

LINE = f"FROM executions_execution WHERE {IN_LINE}"


def each_in_line(column: str) -> str:
    """Return SQL for the table `in_line`: the different values of a column among the executions in line."""
    return each_of(column, IN_LINE, of="in_line")


WAITING = each_in_line("organization_id")
PACES = (
    "FROM in_line JOIN executions_pace p ON p.organization_id = in_line.organization_id"
    " JOIN projects_organization o ON o.uid = p.organization_id"
)


def starts_allowed(seconds: float, rate: float) -> tuple[int, float]:
    """Return the starts allowed `seconds` after the last one, and the seconds to count as passed before them.

    No more than one start's interval and LEEWAY_S count, however long nothing has started; so much counts, too, after a
    last start that lies ahead.
    """
    longest = 1 / rate + LEEWAY_S
    counted = min(seconds, longest) if seconds >= 0 else longest
    return min(math.floor(counted * rate + 1e-6), math.ceil(rate)), counted


class Throttle(LimitCounters):
    lock_paces: str  # the end of a SELECT that locks its paces against other engines

    def ready_organizations(self) -> Answer:
        """Ask for the organizations in line whose rate allows a start, and lock them against other engines.

        A row is (organization id, starts a second, seconds since the last start). A last start that lies ahead was
        noted by a clock that has been set back since, and holds nobody.
        """
        since = self.seconds_since("p.throttle_at")
        return self.ask(
            f"{WAITING} SELECT p.organization_id, o.throttle_rate, {since} {PACES}"
            f" WHERE ({since} * o.throttle_rate >= 1 OR {since} < 0) {self.lock_paces}"
        )

    def claim_throttled(
        self, engine_id: uuid.UUID, ready: list[Row], held: Mapping[Any, int], wanted: Wanted
    ) -> list[Row]:
        """Start the next executions in each ready organization's line, as far as its rate and its share allow."""
        claimed: list[Row] = []
        ready = sorted(ready, key=lambda row: -float(row[2]))  # who has waited for longest, first
        shares = divide([row[0] for row in ready], held, wanted.limit, wanted.most) if ready else {}
        for organization_id, rate, seconds in ready:
            share = shares.get(organization_id, 0)
            claimed += self._start_next(engine_id, organization_id, rate, float(seconds), share)
        return claimed

    def _start_next(
        self, engine_id: uuid.UUID, organization_id: Any, rate: float, seconds: float, limit: int
    ) -> list[Row]:
        allowed, counted = starts_allowed(seconds, rate)
        rows = self.claim_next_throttled(engine_id, organization_id, min(allowed, limit))() if limit > 0 else []
        if rows:
            self._run(
                f"UPDATE executions_pace SET throttle_at = {self.seconds_ago} WHERE organization_id = %s",
                [f"{max(0.0, counted - len(rows) / rate):.6f}", organization_id],
            )
        return rows

    @abstractmethod
    def claim_next_throttled(self, engine_id: uuid.UUID, organization_id: Any, limit: int) -> Answer:
        """Start the oldest executions of an organization's line; answer rows of CLAIM_COLUMNS.

        They leave the throttled lane, so that resuming one is not a start again.
        """

    def next_throttled(self) -> float | None:
        """Return the seconds until an organization in line may start its next execution; None when no line waits."""
        seconds = self.ask(
            f"{WAITING} SELECT MIN(1 / o.throttle_rate - {self.seconds_since('p.throttle_at')}) {PACES}"
        )()[0][0]
        return None if seconds is None else float(seconds)

    def unthrottled_line(self) -> tuple[uuid.UUID, uuid.UUID, int | None] | None:
        """Return an automation whose Throttle was switched off while executions of it are still in line.

        Its organization follows, and the organization's limit of direct starts a minute.
        """
        rows = self.ask(
            f"{each_in_line('automation_id')} SELECT a.uid, a.organization_id, o.direct_limit FROM in_line"
            " JOIN automations_automation a ON a.uid = in_line.automation_id AND NOT a.is_throttled"
            " JOIN projects_organization o ON o.uid = a.organization_id LIMIT 1"
        )()
        return next(((self.to_uuid(row[0]), self.to_uuid(row[1]), row[2]) for row in rows), None)

    def join_direct(self, automation_id: uuid.UUID, organization_id: uuid.UUID, limit: int | None) -> None:
        """Move the first JOIN_MOST executions of an automation's line to the direct lane."""
        self.make_paces([organization_id])
        self._run(  # locks the pace: nobody else touches the line until the commit
            "UPDATE executions_pace SET direct_used = direct_used WHERE organization_id = %s",
            [self.uid(organization_id)],
        )
        line = f"SELECT id {LINE} AND automation_id = %s ORDER BY run_at, id LIMIT {JOIN_MOST}"
        ids = [self.to_uuid(row[0]) for row in self.ask(line, [self.uid(automation_id)])()]
        self._move_to_direct(organization_id, ids, limit)
        self.notify_work()

    def _move_to_direct(self, organization_id: uuid.UUID, ids: list[uuid.UUID], limit: int | None) -> None:
        """Move executions to the direct lane, each to a minute in which the organization has a start left."""
        minutes = [None] * len(ids) if limit is None else self.place_direct(organization_id, len(ids), limit)
        for minute, group in groupby(zip(minutes, ids, strict=True), key=lambda pair: pair[0]):
            where, parameters = self.among("id", (id for _, id in group))
            code, reason = ("direct_limit", direct_limit_reason(limit or 0)) if minute else ("", "")
            self._run(
                "UPDATE executions_execution SET lane = 1, rev = rev + 1, run_at = COALESCE(%s, run_at),"
                f" is_due = {minute is None}, reason_code = %s, reason = %s WHERE {IN_LINE} AND {where}",
                [self.at(minute), code, reason, *parameters],
            )

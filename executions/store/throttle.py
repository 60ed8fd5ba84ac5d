"""The throttled lane: N starts a second for an organization, first come first served, over all machines.

An organization's pace is one row, locked by whoever starts its next; what counts is the time since its last start, so
that a changed rate acts at once and no outage ends in a burst.
"""

from __future__ import annotations

import math
import uuid
from abc import abstractmethod
from typing import Any

from executions.store.dialect import Answer, Dialect, Row

LEEWAY_S = 0.05  # that an engine may come late without losing the next start's time

# The organizations with somebody in line, by one look into the index for each: there may be many who wait, and many
# organizations of which nobody does.
IN_LINE = "SELECT organization_id FROM executions_execution WHERE status = 0 AND lane = 2"
WAITING = (
    f"WITH RECURSIVE waiting (organization_id) AS (SELECT ({IN_LINE} ORDER BY organization_id LIMIT 1) UNION ALL"
    f" SELECT ({IN_LINE} AND organization_id > waiting.organization_id ORDER BY organization_id LIMIT 1)"
    " FROM waiting WHERE waiting.organization_id IS NOT NULL)"
)
PACES = (
    "FROM waiting JOIN executions_pace p ON p.organization_id = waiting.organization_id"
    " JOIN projects_organization o ON o.uid = p.organization_id"
)


def starts_allowed(seconds: float, rate: float) -> tuple[int, float]:
    """Return how many may start this long after the last start, and the time to count as passed before them."""
    counted = min(seconds, 1 / rate + LEEWAY_S)
    return min(math.floor(counted * rate + 1e-6), math.ceil(rate)), counted


class Throttle(Dialect):
    lock_paces: str  # the end of a SELECT that keeps other engines from the same organizations

    def ready_organizations(self) -> Answer:
        """Ask for those whose rate allows a start, and keep other engines from them."""
        since = self.seconds_since("p.throttle_at")
        return self.ask(
            f"{WAITING} SELECT p.organization_id, o.throttle_rate, {since} {PACES}"
            f" WHERE {since} * o.throttle_rate >= 1 {self.lock_paces}"
        )

    def claim_throttled(self, engine_id: uuid.UUID, ready: list[Row], limit: int) -> list[Row]:
        """Start what is next in each ready organization's line, as far as its rate allows."""
        claimed: list[Row] = []
        for organization_id, rate, seconds in ready:
            claimed += self._start_next(engine_id, organization_id, rate, float(seconds), limit - len(claimed))
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
        """Take the oldest of an organization's line; they leave the lane, so that resuming is no start."""

    def next_throttled(self) -> float | None:
        """Return the seconds until a throttled lane may start its next."""
        seconds = self.ask(
            f"{WAITING} SELECT MIN(1 / o.throttle_rate - {self.seconds_since('p.throttle_at')}) {PACES}"
        )()[0][0]
        return None if seconds is None else float(seconds)

    def join_direct(self) -> None:
        """Let those wait in the direct lane whose automation is no longer throttled."""
        self._run(
            "UPDATE executions_execution SET lane = 1, rev = rev + 1 WHERE status = 0 AND lane = 2 AND EXISTS"
            " (SELECT 1 FROM automations_automation a WHERE a.uid = executions_execution.automation_id"
            " AND NOT a.is_throttled)"
        )

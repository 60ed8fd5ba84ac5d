"""The database's clock, which says when something is due: what waits for a time moves with it when it is set back.

One row keeps the time that it has shown last. A clock that shows less now has been set back.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from executions.states import StepStatus
from executions.store.dialect import Dialect
from executions.store.moves import CLAIMABLE

logger = logging.getLogger(__name__)

SET_BACK_S = 1.0  # seconds; by less a clock is only slewed, and nothing moves
TO_FIND = datetime(1970, 1, 1, tzinfo=UTC)  # the fire time of a schedule whose next one is to be found anew


class Clock(Dialect):
    def time(self) -> datetime:
        """Return the database's time at this moment, not as of the begin of the transaction."""
        return self.moment(self.ask(f"SELECT {self.seconds_ago}", ["0"])()[0][0])

    def note_time(self) -> None:
        """Keep the database's time as the one that its clock has shown last, unless it has been set back."""
        self._run(
            f"INSERT INTO executions_clock AS c (id, seen_at) VALUES (1, {self.seconds_ago}) ON CONFLICT (id)"
            " DO UPDATE SET seen_at = excluded.seen_at WHERE c.seen_at < excluded.seen_at",
            ["0"],
        )

    def follow_clock(self) -> None:
        """Where the database's clock has been set back since it was noted, move all that waits for a time with it.

        Call it in each transaction that stores a time to come: what is stored after it is not moved.
        """
        if self._set_back_s(f"SELECT {self.seconds_since('seen_at')} FROM executions_clock"):
            # An UPDATE that changes nothing locks the row in both dialects: one transaction moves, others find it done.
            again = f"UPDATE executions_clock SET seen_at = seen_at RETURNING {self.seconds_since('seen_at')}"
            if by := self._set_back_s(again):
                self._move_back(by)

    def _set_back_s(self, sql: str) -> float:
        """Return by how many seconds the clock was set back, 0 for none."""
        rows = self.ask(sql)()
        return max((-float(row[0]) for row in rows if -float(row[0]) > SET_BACK_S), default=0.0)

    def _move_back(self, by: float) -> None:
        """Move the executions, paces and schedules that are to come, as seen from the clock that was set back."""
        seconds, now = f"{by:.6f}", self.at(self.time())
        later = f"FROM executions_execution WHERE {CLAIMABLE} AND {self.is_not_due} AND run_at > %s"
        self._run(
            f"UPDATE executions_steprun SET resume_at = {self.earlier('resume_at')} FROM (SELECT id {later}) AS later"
            f" WHERE execution_id = later.id AND executions_steprun.status = {StepStatus.PAUSED.value}",
            [seconds, now],
        )
        moved = sum(
            self._changed(  # one statement for each partial index
                f"UPDATE executions_execution SET run_at = {self.earlier('run_at')}, rev = rev + 1"
                f" WHERE {CLAIMABLE} AND {condition} AND run_at > %s",
                [seconds, now],
            )
            for condition in (self.is_due, self.is_not_due)
        )
        self._run(
            f"UPDATE executions_pace SET throttle_at = {self.earlier('throttle_at')},"
            f" direct_minute = {self.minute(self.earlier('direct_minute'))}"
            " WHERE throttle_at > %s OR direct_minute > %s",
            [seconds, seconds, now, now],
        )
        self._run(
            f"UPDATE django_q_schedule SET next_run = {self.earlier('next_run')} WHERE next_run > %s", [seconds, now]
        )
        self._run("UPDATE automations_schedule SET next_at = %s WHERE next_at > %s", [self.at(TO_FIND), now])
        self._run("UPDATE executions_clock SET seen_at = %s", [now])
        logger.warning(
            "the database's clock was set back by %.1f s: %s executions that wait, the throttle and the schedules moved"
            " with it",
            by,
            moved,
        )

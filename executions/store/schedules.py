"""Due schedules: one engine takes each of them, and no fire time makes two executions."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import batched, chain

import orjson

from executions.store.clock import Clock

FIRING_COLUMNS = ("trigger_id", "fires_at", "organization_id", "execution_id")
FIRINGS_AT_ONCE = 100  # rows of one statement


class Schedules(Clock):
    lock_schedules: str  # the end of a SELECT that locks its schedules against other engines
    json_texts: str  # SQL that makes rows, each a `value`, of a parameter, a JSON list of texts

    def next_schedule(self, excluded: Iterable[str]) -> float | None:
        """Return the seconds until the next schedule fires, 0 or less when one is due; None when there is no schedule.

        The schedules of the `excluded` triggers are left out.
        """
        others, parameters = self._not_of(excluded)
        next_in = self.seconds_since("MIN(next_at)")
        seconds = self.ask(f"SELECT {next_in} FROM automations_schedule WHERE {others}", parameters)()[0][0]
        return None if seconds is None else -float(seconds)

    def take_schedules(self, limit: int, excluded: Iterable[str]) -> tuple[datetime, list[tuple[str, datetime]]]:
        """Return the database's time, and the trigger uid and fire time of up to `limit` due schedules.

        The schedules stay locked against other engines; those of the `excluded` triggers are left out.
        """
        now = self.time()
        others, parameters = self._not_of(excluded)
        rows = self.ask(
            f"SELECT trigger_id, next_at FROM automations_schedule WHERE next_at <= %s AND {others}"
            f" ORDER BY next_at, trigger_id LIMIT %s {self.lock_schedules}",
            [self.at(now), *parameters, limit],
        )
        taken = [(row[0], self.to_time(row[1])) for row in rows()]
        return now, [(uid, at) for uid, at in taken if at is not None]

    def _not_of(self, trigger_uids: Iterable[str]) -> tuple[str, list[str]]:
        return f"trigger_id NOT IN (SELECT value FROM {self.json_texts})", [orjson.dumps(list(trigger_uids)).decode()]

    def insert_firings(self, firings: Sequence[tuple[str, datetime, uuid.UUID, uuid.UUID]]) -> set[uuid.UUID]:
        """Store fire times and their executions-to-be; return the ids of those whose fire time had no execution before.

        A firing is (trigger uid, fire time, organization id, execution id).
        """
        made: set[uuid.UUID] = set()
        for batch in batched(firings, FIRINGS_AT_ONCE):
            rows = [
                (trigger_uid, self.at(fires_at), self.uid(organization_id), self.uid(execution_id))
                for trigger_uid, fires_at, organization_id, execution_id in batch
            ]
            answer = self.ask(
                f"INSERT INTO executions_firing ({', '.join(FIRING_COLUMNS)})"
                f" VALUES {', '.join(['(%s, %s, %s, %s)'] * len(rows))}"
                " ON CONFLICT (trigger_id, fires_at) DO NOTHING RETURNING execution_id",
                list(chain.from_iterable(rows)),
            )
            made.update(self.to_uuid(row[0]) for row in answer())
        return made

    def forget_firings(self, trigger_uid: str, after: datetime) -> None:
        """Let a schedule fire again at times after a moment: they were those of a clock that has been set back."""
        sql = "DELETE FROM executions_firing WHERE trigger_id = %s AND fires_at > %s"
        self._run(sql, [trigger_uid, self.at(after)])

    def set_schedule(self, trigger_uid: str, next_at: datetime | None) -> None:
        """Set the moment at which a schedule fires next; None removes a schedule that never fires again."""
        if next_at is None:
            self._run("DELETE FROM automations_schedule WHERE trigger_id = %s", [trigger_uid])
        else:
            self._run(
                "UPDATE automations_schedule SET next_at = %s WHERE trigger_id = %s", [self.at(next_at), trigger_uid]
            )

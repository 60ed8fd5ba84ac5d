"""Schedules that are due: taken by one engine each, and a fire time never twice."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import batched, chain

import orjson

from executions.store.dialect import Dialect

FIRING_COLUMNS = ("trigger_id", "fires_at", "organization_id", "execution_id")
FIRINGS_AT_ONCE = 100


class Schedules(Dialect):
    lock_schedules: str  # the end of a SELECT that keeps other engines from the same schedules
    texts: str  # the rows, each a `value`, of a JSON list of texts

    def next_schedule(self, without: Iterable[str]) -> float | None:
        """Return the seconds until the next schedule fires, of all but some triggers; none or fewer: it is due."""
        others, parameters = self._but(without)
        next_in = self.seconds_since("MIN(next_at)")
        seconds = self.ask(f"SELECT {next_in} FROM automations_schedule WHERE {others}", parameters)()[0][0]
        return None if seconds is None else -float(seconds)

    def take_schedules(self, limit: int, without: Iterable[str]) -> tuple[datetime, list[tuple[str, datetime]]]:
        """Return the database's time, and the trigger and fire time of schedules that are due and no other engine's."""
        now = self.to_time(self.ask(f"SELECT {self.now}")()[0][0])
        assert now is not None
        others, parameters = self._but(without)
        rows = self.ask(
            f"SELECT trigger_id, next_at FROM automations_schedule WHERE next_at <= %s AND {others}"
            f" ORDER BY next_at, trigger_id LIMIT %s {self.lock_schedules}",
            [self.at(now), *parameters, limit],
        )
        taken = [(row[0], self.to_time(row[1])) for row in rows()]
        return now, [(uid, at) for uid, at in taken if at is not None]

    def _but(self, trigger_uids: Iterable[str]) -> tuple[str, list[str]]:
        return f"trigger_id NOT IN (SELECT value FROM {self.texts})", [orjson.dumps(list(trigger_uids)).decode()]

    def insert_firings(self, firings: Sequence[tuple[str, datetime, uuid.UUID, uuid.UUID]]) -> set[uuid.UUID]:
        """Write down fire times with the executions to make; return those executions whose time had none before."""
        made: set[uuid.UUID] = set()
        for some in batched(firings, FIRINGS_AT_ONCE):
            rows = [(uid, self.at(at), self.uid(of), self.uid(execution_id)) for uid, at, of, execution_id in some]
            answer = self.ask(
                f"INSERT INTO executions_firing ({', '.join(FIRING_COLUMNS)})"
                f" VALUES {', '.join(['(%s, %s, %s, %s)'] * len(rows))}"
                " ON CONFLICT (trigger_id, fires_at) DO NOTHING RETURNING execution_id",
                list(chain.from_iterable(rows)),
            )
            made.update(self.to_uuid(row[0]) for row in answer())
        return made

    def set_schedule(self, trigger_uid: str, next_at: datetime | None) -> None:
        """Set when a schedule fires next; None: never again."""
        if next_at is None:
            self._run("DELETE FROM automations_schedule WHERE trigger_id = %s", [trigger_uid])
        else:
            self._run(
                "UPDATE automations_schedule SET next_at = %s WHERE trigger_id = %s", [self.at(next_at), trigger_uid]
            )

"""The lease: an engine's own row, which holds all that it runs."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from executions.store.claims import CLAIM_COLUMNS
from executions.store.dialect import Dialect, Row
from executions.store.moves import GIVE_BACK, GIVEN_BACK_FROM, RUNNING
from executions.store.rows import SUSPECT, Held, Peer

STALE_AFTER_S = 10  # an engine that has not beaten for so long has lost its lease


class Leases(Dialect):
    def register(self, engine_id: uuid.UUID, host: str, boot_id: str, pid: int) -> None:
        self._run(
            "INSERT INTO executions_engine (id, host, boot_id, pid, started_at, beat_at, running, rss_kb, is_stopping)"
            f" VALUES (%s, %s, %s, %s, {self.now}, {self.now}, 0, 0, %s)",
            [self.uid(engine_id), host, boot_id, pid, False],
        )

    def beat(self, engine_id: uuid.UUID, *, running: int, rss_kb: int, is_stopping: bool) -> float | None:
        """Renew the lease; return how many seconds ago the last time was.

        None says that it was lost, and with it everything that the engine ran.
        """
        before = self.ask(
            f"SELECT {self.seconds_since('beat_at')} FROM executions_engine WHERE id = %s", [self.uid(engine_id)]
        )()
        is_kept = self._changed(
            f"UPDATE executions_engine SET beat_at = {self.now}, running = %s, rss_kb = %s, is_stopping = %s"
            " WHERE id = %s",
            [running, rss_kb, is_stopping, self.uid(engine_id)],
        )
        return float(before[0][0]) if is_kept else None

    def peers(self, engine_id: uuid.UUID) -> list[Peer]:
        rows = self.ask(
            f"SELECT id, host, boot_id, pid, {self.is_stale} FROM executions_engine WHERE id <> %s",
            [self.uid(engine_id)],
        )
        return [Peer(self.to_uuid(row[0]), row[1], row[2], row[3], bool(row[4])) for row in rows()]

    is_stale: str

    def end_lease(self, engine_id: uuid.UUID, *, if_stale: bool) -> bool:
        """End a dead engine's lease; return False when another engine was faster, or when it has beaten after all."""
        stale = f" AND {self.is_stale}" if if_stale else ""
        return bool(self._changed(f"DELETE FROM executions_engine WHERE id = %s{stale}", [self.uid(engine_id)]))

    def held_by(self, engine_id: uuid.UUID) -> list[Held]:
        rows = self.ask(
            f"SELECT id, suspicion, deaths FROM executions_execution WHERE {RUNNING} AND engine_id = %s",
            [self.uid(engine_id)],
        )
        return [Held(self.to_uuid(row[0]), row[1], row[2]) for row in rows()]

    def accuse(self, execution_id: uuid.UUID, dead_id: uuid.UUID, *, counts: bool) -> None:
        """Make a dead engine's execution run alone until its next durable step, and count a death against it."""
        self._run(
            f"UPDATE executions_execution SET suspicion = {SUSPECT}, deaths = deaths + %s"
            f" WHERE id = %s AND {RUNNING} AND engine_id = %s",
            [int(counts), self.uid(execution_id), self.uid(dead_id)],
        )

    def take_over(self, execution_id: uuid.UUID, dead_id: uuid.UUID, engine_id: uuid.UUID) -> list[Row]:
        """Make a dead engine's execution another one's, still Running; return CLAIM_COLUMNS."""
        return self.ask(
            "UPDATE executions_execution SET engine_id = %s, claim = claim + 1, rev = rev + 1"
            f" WHERE id = %s AND {RUNNING} AND engine_id = %s RETURNING {CLAIM_COLUMNS}",
            [self.uid(engine_id), self.uid(execution_id), self.uid(dead_id)],
        )()

    def inherit(self, engine_id: uuid.UUID, *, all_suspected: bool) -> int:
        """Give back all that a dead engine held; return how many executions that were."""
        return self._give_back(engine_id, "suspicion = suspicion + 1, " if all_suspected else "")

    def release(self, engine_id: uuid.UUID, keep: Iterable[uuid.UUID]) -> int:
        """Give back what the engine holds but does not run, as after a commit whose answer was lost."""
        kept, parameters = self.among("id", keep)
        return self._give_back(engine_id, "", f" AND NOT ({kept})", parameters)

    def unregister(self, engine_id: uuid.UUID) -> None:
        self._give_back(engine_id, "")
        self._run("DELETE FROM executions_engine WHERE id = %s", [self.uid(engine_id)])

    def _give_back(
        self, engine_id: uuid.UUID, changes: str, condition: str = "", parameters: Sequence[Any] = ()
    ) -> int:
        given = self._changed(
            f"UPDATE executions_execution SET {changes}{GIVE_BACK}, engine_id = NULL, run_at = {self.now},"
            f" rev = rev + 1 WHERE {GIVEN_BACK_FROM} AND engine_id = %s{condition}",
            [self.uid(engine_id), *parameters],
        )
        if given:
            self.notify_work()
        return given

"""The lease: an engine's row. The engine runs its executions as long as it renews the row in time."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.conf import settings

from executions.store.claims import CLAIM_COLUMNS
from executions.store.dialect import Dialect, Row
from executions.store.moves import GIVE_BACK, GIVEN_BACK_FROM, RUNNING, each_of
from executions.store.rows import ALONE, HeldExecution, Peer

STALE_AFTER_S = settings.LEASE_S  # seconds without a beat after which an engine has lost its lease

type Proof = Callable[[], float | None]  # the seconds since the engine's last beat, or None without a lease


def unproved() -> float:
    """Return the answer of a transaction that needs no lease."""
    return 0.0


class Leases(Dialect):
    def register(self, engine_id: uuid.UUID, host: str, boot_id: str, pid: int, *, is_quarantine: bool = False) -> None:
        """Begin a lease, with the database's time as its first beat."""
        self._run(
            "INSERT INTO executions_engine (id, host, boot_id, pid, started_at, beat_at, running, rss_kb, is_stopping,"
            f" is_quarantine) VALUES (%s, %s, %s, %s, {self.now}, {self.now}, 0, 0, %s, %s)",
            [self.uid(engine_id), host, boot_id, pid, False, is_quarantine],
        )

    def beat(
        self,
        engine_id: uuid.UUID,
        *,
        running: int,
        rss_kb: int,
        is_stopping: bool,
        holders: str = "{}",
        held_kb: int = 0,
    ) -> float | None:
        """Renew the lease; return the seconds since the beat before.

        `holders` is JSON that names the organizations with most slots.
        None says that the lease is lost, and with it everything that the engine ran.
        """
        before = self.ask(
            f"SELECT {self.seconds_since('beat_at')} FROM executions_engine WHERE id = %s", [self.uid(engine_id)]
        )()
        is_kept = self._changed(
            f"UPDATE executions_engine SET beat_at = {self.now}, running = %s, rss_kb = %s, is_stopping = %s,"
            " holders = %s, held_kb = %s WHERE id = %s",
            [running, rss_kb, is_stopping, holders, held_kb, self.uid(engine_id)],
        )
        return float(before[0][0]) if is_kept else None

    def proof(self, engine_id: uuid.UUID, more: str = "") -> Proof:
        """Keep the engine's lease from ending before this transaction does; answer the seconds since its last beat.

        None says that it has ended. Ask first in a transaction that starts executions or takes them over: who ends the
        lease later finds what it has committed, and waits for nothing while it holds rows that this transaction wants.
        """
        rows = self.ask(
            f"SELECT {self.seconds_since('beat_at')}{more} FROM executions_engine WHERE id = %s {self.lock_lease}",
            [self.uid(engine_id)],
        )
        return lambda: next((float(row[0]) for row in rows()), None)

    def peers(self, engine_id: uuid.UUID) -> list[Peer]:
        """Return all other engines, those with a stale lease included."""
        rows = self.ask(
            f"SELECT id, host, boot_id, pid, {self.is_stale}, is_quarantine FROM executions_engine WHERE id <> %s",
            [self.uid(engine_id)],
        )
        return [Peer(self.to_uuid(row[0]), row[1], row[2], row[3], bool(row[4]), bool(row[5])) for row in rows()]

    # The SQL condition that a lease has not been renewed for STALE_AFTER_S, or since a clock was set back by more.
    is_stale: str

    def end_lease(self, engine_id: uuid.UUID, *, if_stale: bool) -> bool:
        """End a dead engine's lease; return False when another engine has ended it already.

        With `if_stale` also return False when the engine has renewed it after all. A row that somebody has locked is
        left for the next beat: so nobody waits here, and a claim under way proves that the engine lives.
        """
        stale = f" AND {self.is_stale}" if if_stale else ""
        row = f"SELECT 1 FROM executions_engine WHERE id = %s{stale} {self.skip_locked}"
        if is_over := bool(self.ask(row, [self.uid(engine_id)])()):
            self._run("DELETE FROM executions_engine WHERE id = %s", [self.uid(engine_id)])
        return is_over

    def held_by(self, engine_id: uuid.UUID) -> list[HeldExecution]:
        """Return the executions that are Running on the engine."""
        rows = self.ask(
            f"SELECT id, suspicion, deaths FROM executions_execution WHERE {RUNNING} AND engine_id = %s",
            [self.uid(engine_id)],
        )
        return [HeldExecution(self.to_uuid(row[0]), row[1], row[2]) for row in rows()]

    def accuse(self, execution_id: uuid.UUID, dead_id: uuid.UUID, *, counts: bool) -> None:
        """Make a dead engine's execution one that runs alone, and with `counts` count the death against it."""
        self._run(
            f"UPDATE executions_execution SET suspicion = CASE WHEN suspicion < {ALONE} THEN {ALONE} ELSE suspicion + 1"
            f" END, deaths = deaths + %s WHERE id = %s AND {RUNNING} AND engine_id = %s",
            [int(counts), self.uid(execution_id), self.uid(dead_id)],
        )

    def take_over(self, execution_id: uuid.UUID, dead_id: uuid.UUID, engine_id: uuid.UUID) -> list[Row]:
        """Move a dead engine's execution to another engine, still Running.

        Return its row of CLAIM_COLUMNS, or no row when it no longer belongs to the dead engine.
        """
        return self.ask(
            "UPDATE executions_execution SET engine_id = %s, claim = claim + 1, rev = rev + 1"
            f" WHERE id = %s AND {RUNNING} AND engine_id = %s RETURNING {CLAIM_COLUMNS}",
            [self.uid(engine_id), self.uid(execution_id), self.uid(dead_id)],
        )()

    def inherit(self, engine_id: uuid.UUID, *, all_suspected: bool) -> int:
        """Give all executions of a dead engine back; return their number.

        `all_suspected` adds one to the suspicion of each. Those whose rows somebody has locked are left to the sweep.
        """
        return self._give_back(engine_id, "suspicion = suspicion + 1, " if all_suspected else "")

    def release(self, engine_id: uuid.UUID, keep: Iterable[uuid.UUID]) -> int:
        """Give back the engine's executions except those in `keep`; return their number.

        A commit whose answer was lost leaves executions that the engine has claimed without knowing it.
        """
        kept, parameters = self.among("id", keep)
        return self._give_back(engine_id, "", f"AND NOT ({kept})", parameters)

    def sweep(self) -> int:
        """Give back the executions that run on engines without a row, accusing none; return their number.

        No beat and no death of an engine would find them. The index of the Running ones is searched once an engine.
        """
        gone = self.ask(
            f"{each_of('engine_id', RUNNING, of='holder')} SELECT engine_id FROM holder WHERE engine_id IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM executions_engine e WHERE e.id = holder.engine_id)"
        )()
        return sum(self._give_back(self.to_uuid(row[0]), "") for row in gone)

    def unregister(self, engine_id: uuid.UUID) -> None:
        """Give all executions of a stopping engine back and end its lease."""
        self._give_back(engine_id, "")
        self._run("DELETE FROM executions_engine WHERE id = %s", [self.uid(engine_id)])

    def end_all(self) -> int:
        """End every lease and give all executions back, accusing none; return their number.

        For a copy: the engines that its rows name belong to another installation.
        """
        given = self._changed(
            f"UPDATE executions_execution SET {GIVE_BACK}, engine_id = NULL, run_at = {self.now}, is_due = TRUE,"
            f" rev = rev + 1 WHERE {GIVEN_BACK_FROM}"
        )
        self._run("DELETE FROM executions_engine")
        return given

    def _give_back(
        self, engine_id: uuid.UUID, changes: str, condition: str = "", parameters: Sequence[Any] = ()
    ) -> int:
        """Make an engine's executions Pending again, due at once, and wake the engines; return their number.

        Without a condition it leaves out those whose rows somebody has locked: the sweep finds them later.
        """
        lock = "" if condition else self.skip_locked
        given = self._changed(
            "WITH own (own_id) AS MATERIALIZED (SELECT id FROM executions_execution"
            f" WHERE {GIVEN_BACK_FROM} AND engine_id = %s {condition} {lock})"
            f" UPDATE executions_execution SET {changes}{GIVE_BACK}, engine_id = NULL, run_at = {self.now},"
            f" is_due = TRUE, rev = rev + 1 FROM own WHERE id = own_id AND {GIVEN_BACK_FROM} AND engine_id = %s",
            [self.uid(engine_id), *parameters, self.uid(engine_id)],
        )
        if given:
            self.notify_work()
        return given

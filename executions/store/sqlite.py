"""SQLite: one writer at a time (BEGIN IMMEDIATE), so no locks are named; a doorbell tells of commits."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from random import getrandbits
from typing import Any

from django.db import OperationalError, connection, transaction

from executions.bell import ring
from executions.states import FINAL, Status
from executions.store.base import Store
from executions.store.claims import CLAIM_COLUMNS, DUE, STARTING, SUSPECTS
from executions.store.dialect import REPLY_CHANNEL, WORK_CHANNEL, Row
from executions.store.leases import STALE_AFTER_S
from executions.store.rows import Claimed, Move

LOCK_NAP_S = 0.0004  # between two tries for the write lock; SQLite's own naps grow to 100 ms, and are not fair
LONGEST_LOCK_S = 20.0


class SQLiteStore(Store):
    now = "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"
    seconds_ago = "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', '-' || %s || ' seconds')"
    lock_paces = ""
    lock_schedules = ""
    this_minute = "strftime('%%Y-%%m-%%d %%H:%%M:00.000000', 'now')"
    is_stale = f"beat_at < strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', '-{STALE_AFTER_S} seconds')"

    def tune(self) -> None:
        """Have this thread's tries for the write lock fail at once: `SQLiteStore.transaction` repeats them."""
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout=0")

    @contextmanager
    def transaction(self, *, is_durable: bool = True) -> Iterator[None]:
        if is_durable:
            with self._locked():
                yield
            return
        try:
            self._synchronize("NORMAL")
            with self._locked():
                yield
        finally:
            self._synchronize("FULL")

    def _synchronize(self, how: str) -> None:
        with self.cursor() as cursor:
            cursor.execute(f"PRAGMA synchronous={how}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        deadline = time.monotonic() + LONGEST_LOCK_S
        with ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(transaction.atomic())
                    break
                except OperationalError as error:
                    if "locked" not in str(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(LOCK_NAP_S)
            yield

    def seconds_since(self, moment: str) -> str:
        return f"(julianday('now') - julianday({moment})) * 86400.0"

    def uid(self, value: uuid.UUID) -> Any:
        return value.hex

    def at(self, value: datetime | None) -> Any:
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds") if value else None

    def insert_many(self, table: str, columns: Sequence[str], rows: list[Row], ending: str = "") -> None:
        if not rows:
            return
        marks = ", ".join(["%s"] * len(columns))
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) {ending}", rows)

    def among(self, column: str, ids: Iterable[uuid.UUID]) -> tuple[str, list[Any]]:
        values = [value.hex for value in ids]
        return f"{column} IN ({', '.join(['%s'] * len(values))})", values

    def claim_rows(self, engine_id: uuid.UUID, limit: int) -> list[Row]:
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE executions_execution SET {STARTING}, started_at = COALESCE(started_at, {self.now})"
                f" WHERE id IN (SELECT id FROM executions_execution WHERE {DUE} AND lane < 2"
                f" AND run_at <= {self.now} ORDER BY lane, run_at, id LIMIT %s) RETURNING {CLAIM_COLUMNS}",
                [engine_id.hex, limit],
            )
            return list(cursor.fetchall())

    def claim_suspect_rows(self, engine_id: uuid.UUID) -> list[Row]:
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE executions_execution SET {STARTING}, started_at = COALESCE(started_at, {self.now})"
                f" WHERE id IN (SELECT id FROM executions_execution WHERE {SUSPECTS} ORDER BY run_at LIMIT 1)"
                f" RETURNING {CLAIM_COLUMNS}",
                [engine_id.hex],
            )
            return list(cursor.fetchall())

    def claim_next_throttled(self, engine_id: uuid.UUID, organization_id: Any, limit: int) -> list[Row]:
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE executions_execution SET lane = 1, {STARTING}, started_at = {self.now}"
                " WHERE id IN (SELECT id FROM executions_execution WHERE organization_id = %s AND status = 0"
                f" AND lane = 2 ORDER BY run_at, id LIMIT %s) RETURNING {CLAIM_COLUMNS}",
                [engine_id.hex, organization_id, limit],
            )
            return list(cursor.fetchall())

    def fenced(self, engine_id: uuid.UUID, executions: list[Claimed]) -> set[uuid.UUID]:
        claims = {execution.id: execution.claim for execution in executions}
        mine: set[uuid.UUID] = set()
        with connection.cursor() as cursor:
            for chunk in _chunks(list(claims), 500):
                where, parameters = self.among("id", chunk)
                cursor.execute(
                    f"SELECT id, claim FROM executions_execution WHERE {where} AND status = 1 AND engine_id = %s",
                    [*parameters, engine_id.hex],
                )
                found = ((uuid.UUID(row[0]), row[1]) for row in cursor.fetchall())
                mine |= {id for id, claim in found if claims[id] == claim}
        return mine

    def apply_moves(self, engine_id: uuid.UUID, moves: list[Move]) -> None:
        rows = [
            (
                move.target.value, move.reason_code, move.reason, move.ran_ms,
                self.at(move.resume_at) if move.target is Status.PAUSED else None, move.steps, move.connectors,
                move.target in FINAL, move.target in FINAL, move.execution.id.hex, engine_id.hex, move.execution.claim,
            )
            for move in moves
        ]  # fmt: skip
        with self.cursor() as cursor:
            cursor.executemany(
                "UPDATE executions_execution SET status = %s, reason_code = %s, reason = %s, ran_ms = %s,"
                " run_at = COALESCE(%s, run_at), steps = %s, connectors = %s,"
                f" finished_at = CASE WHEN %s THEN {self.now} END, is_counted = is_counted OR %s,"
                " engine_id = NULL, rev = rev + 1 WHERE id = %s AND status = 1 AND engine_id = %s AND claim = %s",
                rows,
            )

    def notify_work(self) -> None:
        transaction.on_commit(partial(ring, WORK_CHANNEL, getrandbits(8)))

    def notify_reply(self) -> None:
        transaction.on_commit(partial(ring, REPLY_CHANNEL, 0))


def _chunks(values: list[uuid.UUID], size: int) -> Iterable[list[uuid.UUID]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]

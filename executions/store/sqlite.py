"""SQLite: one writer at a time (BEGIN IMMEDIATE), so that no statement locks rows; a doorbell announces commits."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import chain
from random import getrandbits
from typing import Any

import orjson
from django.db import DEFAULT_DB_ALIAS, Error, connection, connections, transaction

from executions.states import FINAL, Status
from executions.store import errors
from executions.store.base import Store
from executions.store.claims import CLAIM_COLUMNS, CLAIMED_LANES, STARTING
from executions.store.dialect import REPLY_CHANNEL, WORK_CHANNEL, Answer, Row
from executions.store.doorbell import ring
from executions.store.leases import STALE_AFTER_S, Proof, unproved
from executions.store.moves import IN_LINE, RUNNING
from executions.store.rows import Claimed, Move

LOCK_NAP_S = 0.0004  # seconds between two tries for the write lock; SQLite's own naps grow to 100 ms, and are not fair
LONGEST_LOCK_S = 20.0  # seconds of trying for the write lock
PARAMETER = re.compile(r"(?<!%)%s")
LONGEST_VALUES = 128  # rows of one statement at most, a power of two


class SQLiteStore(Store):
    now = "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"
    seconds_ago = "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', '-' || %s || ' seconds')"
    due_ago = seconds_ago
    is_due, is_not_due = "is_due = 1", "is_due = 0"
    skip_locked = ""
    lock_paces = ""
    lock_schedules = ""
    lock_lease = ""
    json_texts = "json_each(%s)"
    wanted_rows = (
        "(SELECT json_extract(value, '$.organization_id') AS organization_id, json_extract(value, '$.month') AS month,"
        " json_extract(value, '$.amount') AS amount FROM json_each(%s)) AS r"
    )
    is_stale = (
        f"(beat_at < strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', '-{STALE_AFTER_S} seconds')"
        f" OR beat_at > strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', '+{STALE_AFTER_S} seconds'))"
    )

    def tune(self, *, patience_s: float = 0) -> None:
        """Let this thread's tries for the write lock fail at once: `SQLiteStore.transaction` repeats them."""
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout=0")

    @contextmanager
    def pipeline(self, *, prove: uuid.UUID | None = None, is_durable: bool = True) -> Iterator[Proof]:
        if is_durable:
            with self.transaction():
                yield self.proof(prove) if prove else unproved
            return
        try:
            self._synchronize("NORMAL")
            with self.transaction():
                yield self.proof(prove) if prove else unproved
        finally:
            self._synchronize("FULL")

    def _synchronize(self, how: str) -> None:
        connection.ensure_connection()
        connection.connection.execute(f"PRAGMA synchronous={how}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        deadline = time.monotonic() + LONGEST_LOCK_S
        with ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(transaction.atomic())
                    break
                except Error as error:
                    if errors.fault_of(error) is not errors.LOCKED or time.monotonic() > deadline:
                        raise
                    time.sleep(LOCK_NAP_S)
            yield

    def seconds_since(self, moment: str) -> str:
        return f"(julianday('now') - julianday({moment})) * 86400.0"

    def earlier(self, moment: str) -> str:
        return f"strftime('%%Y-%%m-%%d %%H:%%M:%%f', {moment}, '-' || %s || ' seconds')"

    def minute(self, moment: str) -> str:
        return f"strftime('%%Y-%%m-%%d %%H:%%M:00.000000', {moment})"

    def uid(self, value: uuid.UUID) -> Any:
        return value.hex

    def at(self, value: datetime | None) -> Any:
        if value is None:
            return None
        in_utc = value if value.tzinfo is UTC else value.astimezone(UTC)
        return in_utc.isoformat(" ", "microseconds").removesuffix("+00:00")

    def session(self) -> int:
        return 0

    def end_session(self, session: int, begun_s_ago: float) -> bool:
        return True

    def confirm(self) -> None:
        pass

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> Answer:
        """Run a statement without Django's cursor, which costs several times as much as a short statement itself."""
        here = connections[DEFAULT_DB_ALIAS]  # `connection` would look this thread's up for each attribute
        here.ensure_connection()
        with here.wrap_database_errors:
            rows = here.connection.execute(_with_question_marks(sql), parameters).fetchall()
        return lambda: rows

    def ask_many(self, columns: str, source: str, parameters: Sequence[Any] = ()) -> Answer:
        """Ask for all rows as one JSON text: sqlite3 releases the GIL for each row, and a busy loop keeps it."""
        answer = self.ask(f"SELECT json_group_array(json_array({columns})) {source}", parameters)
        return lambda: orjson.loads(answer()[0][0])

    def insert_many(self, table: str, columns: Sequence[str], rows: list[Row], ending: str = "") -> None:
        self._run_with_values(f"INSERT INTO {table} ({', '.join(columns)}) VALUES {{rows}} {ending}", rows)

    def _run_with_values(self, sql: str, rows: list[Row]) -> None:
        """Run a statement with many rows in VALUES: SQLite loops over them while other Python threads run."""
        here = connections[DEFAULT_DB_ALIAS]
        here.ensure_connection()
        with here.wrap_database_errors:
            for chunk in _chunks(rows):
                marks = ", ".join(["(" + ", ".join("?" * len(chunk[0])) + ")"] * len(chunk))
                here.connection.execute(sql.format(rows=marks), list(chain.from_iterable(chunk)))

    def among(self, column: str, ids: Iterable[uuid.UUID]) -> tuple[str, list[Any]]:
        values = [value.hex for value in ids]
        return f"{column} IN ({', '.join(['%s'] * len(values))})", values

    def start_due(self, engine_id: uuid.UUID, quotas: Mapping[Any, int], waited_s: float) -> Answer:
        lanes = [
            f"SELECT id FROM (SELECT id {self.due('%s', lane)} ORDER BY run_at, id LIMIT %s)" for lane in CLAIMED_LANES
        ]
        due = f"{' UNION ALL '.join(lanes)} LIMIT %s"  # in the order of the lanes
        ids: list[str] = []
        for organization_id, quota in quotas.items():
            ids += (row[0] for row in self.ask(due, [*[organization_id, waited_s, quota] * len(lanes), quota])())
        return self._start(engine_id, ids)

    def ripen(self) -> int:
        return self._changed(f"UPDATE executions_execution SET is_due = 1 WHERE id IN ({self.ripe()})")

    def start_suspects(self, engine_id: uuid.UUID, ids: list[Any]) -> Answer:
        return self._start(engine_id, ids)  # nobody else has written since they were found

    def claim_next_throttled(self, engine_id: uuid.UUID, organization_id: Any, limit: int) -> Answer:
        line = self.ask(
            f"SELECT id FROM executions_execution WHERE organization_id = %s AND {IN_LINE}"
            " ORDER BY run_at, id LIMIT %s",
            [organization_id, limit],
        )
        return self._start(engine_id, [row[0] for row in line()], "lane = 1, is_due = 1, ")

    def _start(self, engine_id: uuid.UUID, execution_ids: list[str], changes: str = "") -> Answer:
        if not execution_ids:
            return list
        ids = orjson.dumps(execution_ids).decode()
        these = "id IN (SELECT value FROM json_each(%s))"
        self._run(
            f"UPDATE executions_execution SET {changes}{STARTING}, started_at = COALESCE(started_at, {self.now})"
            f" WHERE {these}",
            [engine_id.hex, ids],
        )
        return self.ask_many(CLAIM_COLUMNS, f"FROM executions_execution WHERE {these}", [ids])

    def locked(self, ids: set[uuid.UUID]) -> set[uuid.UUID]:
        return set()

    def fenced(
        self, engine_id: uuid.UUID, executions: list[Claimed], *, waits: bool = True
    ) -> Callable[[], set[uuid.UUID]]:
        if not executions:
            return set
        ours = {execution.id.hex: execution for execution in executions}
        where, parameters = self.among("id", (execution.id for execution in executions))
        still_ours = self.ask_many(
            "id, claim, stop_code, stop_reason",
            f"FROM executions_execution WHERE {where} AND {RUNNING} AND engine_id = %s",
            [*parameters, engine_id.hex],
        )
        return lambda: {ours[row[0]].id for row in still_ours() if ours[row[0]].note_held(*row[1:])}

    def apply_moves(self, engine_id: uuid.UUID, moves: list[Move]) -> Callable[[], set[uuid.UUID]]:
        rows = [
            (
                move.target.value, move.reason_code, move.reason, move.ran_ms,
                self.at(move.resume_at) if move.target is Status.PAUSED else None, move.steps, move.connectors,
                move.target in FINAL, move.execution.id.hex, engine_id.hex, move.execution.claim,
            )
            for move in moves
        ]  # fmt: skip
        still_ours = self.fenced(engine_id, [move.execution for move in moves])
        self._run_with_values(
            "WITH r (status, reason_code, reason, ran_ms, run_at, steps, connectors, is_final, id, engine_id, claim)"
            " AS (VALUES {rows}) UPDATE executions_execution AS e SET status = r.status, reason_code = r.reason_code,"
            " is_due = r.run_at IS NULL OR e.stop_code IS NOT NULL, reason = r.reason, ran_ms = r.ran_ms,"
            " run_at = CASE WHEN e.stop_code IS NULL THEN COALESCE(r.run_at, e.run_at) ELSE e.run_at END,"
            f" steps = r.steps, connectors = r.connectors, finished_at = CASE WHEN r.is_final THEN {self.now % ()} END,"
            " is_counted = e.is_counted OR r.is_final, engine_id = NULL, rev = e.rev + 1 FROM r"
            f" WHERE e.id = r.id AND e.{RUNNING} AND e.engine_id = r.engine_id AND e.claim = r.claim",
            rows,
        )
        return still_ours

    def notify_work(self) -> None:
        transaction.on_commit(partial(ring, WORK_CHANNEL, getrandbits(8)), robust=True)

    def notify_reply(self) -> None:
        transaction.on_commit(partial(ring, REPLY_CHANNEL, 0), robust=True)


@lru_cache(maxsize=1000)
def _with_question_marks(sql: str) -> str:
    """Return a statement with SQLite's sign for a parameter in place of Django's."""
    return sql % (("?",) * PARAMETER.subn("", sql)[1])


def _chunks(rows: list[Row]) -> Iterator[list[Row]]:
    """Cut rows into chunks of a power of two, so that SQLite prepares few different statements."""
    size = LONGEST_VALUES
    while rows:
        while size > len(rows):
            size //= 2
        yield rows[:size]
        rows = rows[size:]

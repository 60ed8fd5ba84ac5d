"""PostgreSQL: claims with SKIP LOCKED, many rows in one statement through a JSON parameter, NOTIFY after commits."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import cache
from random import getrandbits
from typing import Any

import orjson
import psycopg
from django.db import connection, transaction
from psycopg.pq import TransactionStatus

from executions.states import FINAL, Status
from executions.store.base import Store
from executions.store.claims import CLAIM_COLUMNS, CLAIMED_LANES, STARTING, SUSPECTS
from executions.store.dialect import REPLY_CHANNEL, WORK_CHANNEL, Answer, Row
from executions.store.leases import STALE_AFTER_S, Proof, unproved
from executions.store.moves import IN_LINE, RUNNING
from executions.store.rows import Claimed, Move

PREPARE_AFTER = 3  # times that a statement is sent until it is prepared
# A plan is kept while the tables grow from nothing, so it must be the plan for large tables from the start.
KEPT_PLAN_SETTINGS = (
    "plan_cache_mode = force_generic_plan", "enable_seqscan = off", "enable_hashjoin = off", "enable_mergejoin = off",
    "enable_material = off", "enable_bitmapscan = off", "jit = off",
)  # fmt: skip
# A process that hangs in a transaction, or whose machine is gone, would keep its executions' rows locked, and no other
# engine could recover them.
IDLE_LIMIT = f"idle_in_transaction_session_timeout = '{STALE_AFTER_S}s'"
END_WITHIN_MS = 5000  # milliseconds that a session may take to end
NOT_DURABLE = "set_config('synchronous_commit', 'off', true)"  # until the end of the transaction
# CASE hides the status from the planner, which would otherwise expect few Running executions and read all of them for
# each of our rows.
RUNS_HERE = f"CASE WHEN {{alias}}{RUNNING} THEN {{alias}}engine_id = %s ELSE FALSE END"


@cache
def column_types(table: str) -> dict[str, str]:
    """Return the SQL type of each column of a table, read once a process."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            [table],
        )
        return dict(cursor.fetchall())


class PostgreSQLStore(Store):
    now = "now()"
    seconds_ago = "clock_timestamp() - make_interval(secs => %s::float8)"
    due_ago = "now() - make_interval(secs => %s::float8)"  # now() is stable, so that an index can be searched for it
    is_due, is_not_due = "is_due", "NOT is_due"
    skip_locked = "FOR UPDATE SKIP LOCKED"
    lock_paces = "FOR UPDATE OF p SKIP LOCKED"
    lock_schedules = "FOR UPDATE SKIP LOCKED"
    lock_lease = "FOR KEY SHARE"  # a beat goes on beside it
    json_texts = "json_array_elements_text(%s::json)"
    wanted_rows = "json_to_recordset(%s::json) AS r (organization_id uuid, month date, amount int)"
    # now() may be older than another engine's beat, by as long as this transaction has waited.
    is_stale = (
        f"(beat_at < now() - interval '{STALE_AFTER_S} seconds'"
        f" OR beat_at > clock_timestamp() + interval '{STALE_AFTER_S} seconds')"
    )

    def tune(self, *, patience_s: float = 0) -> None:
        """Prepare this connection's statements and keep their plans: with partitions, planning costs most."""
        connection.connection.prepare_threshold = PREPARE_AFTER
        with connection.cursor() as cursor:
            patience = f"lock_timeout = '{patience_s}s'"
            cursor.execute("; ".join(f"SET {setting}" for setting in (*KEPT_PLAN_SETTINGS, IDLE_LIMIT, patience)))

    def transaction(self) -> AbstractContextManager[None]:
        return transaction.atomic()

    @contextmanager
    def pipeline(self, *, prove: uuid.UUID | None = None, is_durable: bool = True) -> Iterator[Proof]:
        if connection.in_atomic_block:
            yield self.proof(prove) if prove else unproved  # the caller's transaction goes on
            return
        connection.ensure_connection()
        with connection.wrap_database_errors:
            try:
                with connection.connection.pipeline():
                    self._run("BEGIN")
                    if not is_durable and not prove:
                        self._run(f"SELECT {NOT_DURABLE}")
                    # One statement for both, as a claim comes with each request when there are few.
                    yield self.proof(prove, "" if is_durable else f", {NOT_DURABLE}") if prove else unproved
                    self._run("COMMIT")
            finally:
                if connection.connection.info.transaction_status != TransactionStatus.IDLE:
                    connection.connection.rollback()

    def session(self) -> int:
        connection.ensure_connection()
        return int(connection.connection.info.backend_pid)

    def end_session(self, session: int, begun_s_ago: float) -> bool:
        # After a restart of the server the number may be another session's, which has begun later.
        rows = self.ask(
            "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE pid = %s AND usename = current_user"
            f" AND pid <> pg_backend_pid() AND backend_start < {self.seconds_ago}",
            [END_WITHIN_MS, session, begun_s_ago],
        )()
        return all(row[0] for row in rows)

    def confirm(self) -> None:
        # An own commit is answered once standbys have it, and with it all before it. It must have something to write.
        self._run("SELECT pg_logical_emit_message(true, 'agentos', '')")

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> Answer:
        """Send a statement whose parameters the server binds: a repeated one is planned once (see `tune`)."""
        connection.ensure_connection()
        with connection.wrap_database_errors:
            cursor = psycopg.Cursor(connection.connection)
            cursor.execute(sql, parameters)
        return connection.wrap_database_errors(cursor.fetchall)

    def seconds_since(self, moment: str) -> str:
        return f"EXTRACT(EPOCH FROM clock_timestamp() - {moment})::float8"

    def earlier(self, moment: str) -> str:
        return f"{moment} - make_interval(secs => %s::float8)"

    def minute(self, moment: str) -> str:
        return f"date_trunc('minute', {moment})"

    def uid(self, value: uuid.UUID) -> Any:
        return value

    def at(self, value: datetime | None) -> Any:
        return value

    def insert_many(self, table: str, columns: Sequence[str], rows: list[Row], ending: str = "") -> None:
        if not rows:
            return
        names = ", ".join(columns)
        types = column_types(table)
        shape = ", ".join(f"{column} {types[column]}" for column in columns)
        self._run(
            f"INSERT INTO {table} ({names}) SELECT {names} FROM json_to_recordset(%s::json) AS r({shape}) {ending}",
            [_json([dict(zip(columns, row, strict=True)) for row in rows])],
        )

    def among(self, column: str, ids: Iterable[uuid.UUID]) -> tuple[str, list[Any]]:
        # A kept plan prunes partitions row by row of a join, but not for the array of `= ANY(%s)`.
        return f"{column} IN (SELECT unnest(%s::uuid[]))", [list(ids)]

    def start_due(self, engine_id: uuid.UUID, quotas: Mapping[Any, int], waited_s: float) -> Answer:
        first = f"ORDER BY run_at, id LIMIT most {self.skip_locked}"
        lanes = [f"(SELECT id FROM (SELECT id {self.due('owner', lane)} {first}) AS lane)" for lane in CLAIMED_LANES]
        due = (
            "SELECT own.id FROM unnest(%s::uuid[], %s::int[]) AS quota (owner, most) CROSS JOIN LATERAL"
            f" (SELECT id FROM ({' UNION ALL '.join(lanes)}) AS lanes LIMIT most) AS own"  # in the order of the lanes
        )
        return self._start(engine_id, due, [list(quotas), list(quotas.values()), *[waited_s] * len(lanes)])

    def ripen(self) -> int:
        return self._changed(
            f"WITH ripe (ripe_id) AS MATERIALIZED ({self.ripe()})"
            " UPDATE executions_execution SET is_due = TRUE FROM ripe WHERE id = ripe_id"
        )

    def start_suspects(self, engine_id: uuid.UUID, ids: list[Any]) -> Answer:
        these, parameters = self.among("id", ids)
        suspects = f"SELECT id FROM executions_execution WHERE {SUSPECTS} AND {these} FOR UPDATE SKIP LOCKED"
        return self._start(engine_id, suspects, parameters)

    def claim_next_throttled(self, engine_id: uuid.UUID, organization_id: Any, limit: int) -> Answer:
        line = (
            f"SELECT id FROM executions_execution WHERE organization_id = %s AND {IN_LINE}"
            " ORDER BY run_at, id LIMIT %s FOR UPDATE"
        )
        return self._start(engine_id, line, [organization_id, limit], "lane = 1, is_due = TRUE, ")

    def _start(self, engine_id: uuid.UUID, ids_query: str, parameters: list[Any], changes: str = "") -> Answer:
        """Start the executions whose ids a query returns and locks; a join prunes partitions row by row."""
        return self.ask(
            f"WITH due (due_id) AS MATERIALIZED ({ids_query})"
            f" UPDATE executions_execution SET {changes}{STARTING}, started_at = COALESCE(started_at, now())"
            f" FROM due WHERE id = due_id RETURNING {CLAIM_COLUMNS}",
            [*parameters, engine_id],
        )

    def locked(self, ids: set[uuid.UUID]) -> set[uuid.UUID]:
        these = "SELECT id FROM unnest(%s::uuid[]) AS ours(our_id) JOIN executions_execution ON id = our_id"
        rows = self.ask(
            f"WITH free AS MATERIALIZED ({these} FOR UPDATE OF executions_execution SKIP LOCKED)"
            f" {these} WHERE id NOT IN (SELECT id FROM free)",
            [list(ids), list(ids)],
        )
        return {row[0] for row in rows()}

    def fenced(
        self, engine_id: uuid.UUID, executions: list[Claimed], *, waits: bool = True
    ) -> Callable[[], set[uuid.UUID]]:
        if not executions:
            return set
        ours = {execution.id: execution for execution in executions}
        still_ours = self.ask(
            "SELECT id, claim, stop_code, stop_reason FROM unnest(%s::uuid[]) AS ours(our_id)"
            f" JOIN executions_execution ON id = our_id WHERE {RUNS_HERE.format(alias='')} ORDER BY id"
            f"{' FOR UPDATE OF executions_execution' if waits else ''}",
            [list(ours), engine_id],
        )
        return lambda: {row[0] for row in still_ours() if ours[row[0]].note_held(*row[1:])}

    def apply_moves(self, engine_id: uuid.UUID, moves: list[Move]) -> Callable[[], set[uuid.UUID]]:
        if not moves:
            return set
        moved = self.ask(
            "UPDATE executions_execution e SET status = r.status, reason_code = r.reason_code, reason = r.reason,"
            " ran_ms = r.ran_ms, run_at = CASE WHEN e.stop_code IS NULL THEN COALESCE(r.run_at, e.run_at)"
            " ELSE e.run_at END, is_due = r.run_at IS NULL OR e.stop_code IS NOT NULL, steps = r.steps,"
            " connectors = r.connectors,"
            " finished_at = CASE WHEN r.is_final THEN now() END, is_counted = e.is_counted OR r.is_final,"
            " engine_id = NULL, rev = e.rev + 1 FROM json_to_recordset(%s::json) AS r(id uuid, claim int,"
            " status smallint, reason_code text, reason text, ran_ms int, run_at timestamptz, steps smallint,"
            " connectors text, is_final boolean)"
            f" WHERE e.id = r.id AND {RUNS_HERE.format(alias='e.')} AND e.claim = r.claim RETURNING e.id",
            [_json([_move_row(move) for move in moves]), engine_id],
        )
        return lambda: {row[0] for row in moved()}

    def notify_work(self) -> None:
        self._run("SELECT pg_notify(%s, %s)", [WORK_CHANNEL, str(getrandbits(8))])

    def notify_reply(self) -> None:
        self._run("SELECT pg_notify(%s, '')", [REPLY_CHANNEL])


def _move_row(move: Move) -> dict[str, Any]:
    return {
        "id": move.execution.id, "claim": move.execution.claim, "status": move.target.value,
        "reason_code": move.reason_code, "reason": move.reason, "ran_ms": move.ran_ms,
        "run_at": move.resume_at if move.target is Status.PAUSED else None, "steps": move.steps,
        "connectors": move.connectors, "is_final": move.target in FINAL,
    }  # fmt: skip


def _json(rows: list[dict[str, Any]]) -> str:
    return orjson.dumps(rows).decode()

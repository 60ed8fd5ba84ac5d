"""Weekly partitions of the growing tables, on PostgreSQL only: made ahead, detached whole, then dropped.

A week is a range of ids, because a UUIDv7 begins with the time at which it was made. The DEFAULT partition holds the
rows that fit no week; the rows from before the partitioning lie in a partition without a lower bound. A change of the
partitions gives up when it does not get its locks within LOCK_TIMEOUT, so that nobody waits behind it for longer.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction

from executions.store.moves import CLAIMABLE, OPEN, RUNNING
from projects.ids import first_id_at

WEEK = timedelta(weeks=1)
WEEKS_AHEAD = 2  # besides the current one: they outlast a week without housekeeping, and more would cost planning time
LOCK_TIMEOUT = "500ms"
MOVABLE = 10_000  # rows at most that move from DEFAULT into a new week's partition

EXECUTIONS = {  # each table with the column that holds its execution's id
    "executions_execution": "id",
    "executions_steprun": "execution_id",
    "executions_payload": "execution_id",
    "executions_attempt": "execution_id",
}
RECEIPTS = {"executions_receipt": "id"}
PARTITIONED = EXECUTIONS | RECEIPTS

BOUNDS = re.compile(r"FROM \((?:'([^']+)'|MINVALUE)\) TO \('([^']+)'\)")


@dataclass(frozen=True, slots=True)
class Partition:
    name: str
    start: uuid.UUID | None  # None: no lower bound
    end: uuid.UUID


def are_used() -> bool:
    """Return whether the database has partitions: only PostgreSQL does."""
    return connection.vendor == "postgresql"


def week_of(moment: datetime) -> datetime:
    """Return the start of the ISO week (UTC)."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def partitions_of(table: str) -> list[Partition]:
    """Return a table's partitions, oldest first, without DEFAULT."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c"
            " ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(%s)",
            [table],
        )
        rows = cursor.fetchall()
    found = [(name, hit) for name, bounds in rows if (hit := BOUNDS.search(bounds))]
    made = [Partition(name, uuid.UUID(hit[1]) if hit[1] else None, uuid.UUID(hit[2])) for name, hit in found]
    return sorted(made, key=lambda partition: partition.end)


# --- making


def convert(now: datetime) -> None:
    """Partition the plain tables without rewriting a row: each old table becomes the first partition of a new one."""
    first = week_of(now) + WEEK
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '10s'")
        plain = {table: key for table, key in PARTITIONED.items() if _is_plain(cursor, table)}
        if plain:
            cursor.execute(f"LOCK TABLE {', '.join(plain)}")
        for table, key in plain.items():
            _convert(cursor, table, key, first)
    make_weeks(now)


def _is_plain(cursor: Any, table: str) -> bool:
    cursor.execute("SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass(%s)", [table])
    return bool(cursor.fetchone()[0])


def _convert(cursor: Any, table: str, key: str, first: datetime) -> None:
    old, end = f"{table}_before_{_label(first)}", first_id_at(first)
    cursor.execute(
        "SELECT c.relname, pg_get_indexdef(i.indexrelid), pg_get_constraintdef(k.oid) FROM pg_index i"
        " JOIN pg_class c ON c.oid = i.indexrelid"
        " LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid"
        " WHERE i.indrelid = %s::regclass",
        [table],
    )
    indexes = cursor.fetchall()
    cursor.execute(f"ALTER TABLE {table} RENAME TO {old}")
    for name, _, _ in indexes:
        cursor.execute(f'ALTER INDEX "{name}" RENAME TO "{name[:56]}_before"')
    like = f"LIKE {old} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE"
    cursor.execute(f"CREATE TABLE {table} ({like}) PARTITION BY RANGE ({key})")
    for name, definition, constraint in indexes:
        cursor.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {constraint}' if constraint else definition)
    cursor.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
    # Rows beyond the first partition, made by a clock that is ahead, would forbid ATTACH: they move to DEFAULT.
    cursor.execute(f"CREATE TEMPORARY TABLE ahead ON COMMIT DROP AS SELECT * FROM {old} WHERE {key} >= %s", [end])
    cursor.execute(f"DELETE FROM {old} WHERE {key} >= %s", [end])
    cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {old} FOR VALUES FROM (MINVALUE) TO ('{end}')")
    cursor.execute(f"INSERT INTO {table} SELECT * FROM ahead")
    cursor.execute("DROP TABLE ahead")


def make_weeks(now: datetime) -> list[str]:
    """Make the missing partitions of this week and the WEEKS_AHEAD next ones; return the new names."""
    weeks = [week_of(now) + number * WEEK for number in range(WEEKS_AHEAD + 1)]
    made = []
    for table, key in PARTITIONED.items():
        covered = partitions_of(table)
        for week in weeks:
            start = first_id_at(week)
            if any((part.start is None or part.start <= start) and start < part.end for part in covered):
                continue
            if _make_week(table, key, week):
                made.append(f"{table}_{_label(week)}")
    return made


def add_index(table: str, name: str, definition: str) -> None:
    """Make an index partition by partition without blocking writers; a second call goes on where the first ended.

    `definition` follows the table's name in CREATE INDEX: the columns, and a condition. Call it outside a transaction.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE INDEX IF NOT EXISTS {name} ON ONLY {table} {definition}")
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass"
            " AND inhrelid NOT IN (SELECT x.indrelid FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhrelid"
            " WHERE i.inhparent = %s::regclass) ORDER BY 1",
            [table, name],
        )
        for (partition,) in cursor.fetchall():
            own = partition.replace("executions_", "", 1) + name.removeprefix(table.removeprefix("executions_"))
            cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {own}")  # left invalid by a call that was interrupted
            cursor.execute(f"CREATE INDEX CONCURRENTLY {own} ON {partition} {definition}")
            cursor.execute(f"ALTER INDEX {name} ATTACH PARTITION {own}")


@contextmanager
def _with_short_locks() -> Iterator[Any]:
    """Open a transaction that fails when it does not get a lock within LOCK_TIMEOUT."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        yield cursor


def _make_week(table: str, key: str, week: datetime) -> bool:
    """Make a week's partition; return False when DEFAULT holds more than MOVABLE rows of that week: they stay there."""
    name, start, end = f"{table}_{_label(week)}", first_id_at(week), first_id_at(week + WEEK)
    within = f"{key} >= '{start}' AND {key} < '{end}'"
    with _with_short_locks() as cursor:
        # ATTACH takes the same lock on DEFAULT; CREATE ... PARTITION OF would lock the whole table.
        cursor.execute(f"LOCK TABLE ONLY {table}_default")
        cursor.execute(f"SELECT count(*) FROM (SELECT 1 FROM {table}_default WHERE {within} LIMIT {MOVABLE + 1}) r")
        if cursor.fetchone()[0] > MOVABLE:
            return False
        cursor.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)")
        cursor.execute(
            f"WITH moved AS (DELETE FROM {table}_default WHERE {within} RETURNING *)"
            f" INSERT INTO {name} SELECT * FROM moved"
        )
        cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')")
    return True


def _label(week: datetime) -> str:
    year, number, _ = week.isocalendar()
    return f"{year}w{number:02}"


# --- dropping


def is_outlived(partition: str, expired: Collection[uuid.UUID]) -> bool:
    """Return whether a partition's rows all belong to the `expired` organizations and none is an open execution."""
    has_status = partition.startswith("executions_execution")
    is_open = f"{OPEN} OR " if has_status else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT NOT EXISTS (SELECT 1 FROM {partition} WHERE {is_open}NOT organization_id = ANY(%s))",
            [list(expired)],
        )
        return bool(cursor.fetchone()[0])


def drop(partition: Partition, tables: Collection[str]) -> list[str]:
    """Detach a week's partitions from all the tables at once, then drop them; return their names.

    Return none, and change nothing, when one of the executions has been started again meanwhile.
    """
    found = [(table, part.name) for table in tables for part in partitions_of(table) if part.end == partition.end]
    with _with_short_locks() as cursor:
        for table, name in found:
            cursor.execute(f"ALTER TABLE {table} DETACH PARTITION {name}")
        if any(table == "executions_execution" and _is_open(cursor, name) for table, name in found):
            transaction.set_rollback(True)
            return []
    drop_detached()
    return [name for _, name in found]


def _is_open(cursor: Any, name: str) -> bool:
    """Return whether an execution of the partition was started again after `is_outlived` looked at it.

    Each of the conditions has an index, which keeps the search short under the table's lock.
    """
    conditions = (f"{CLAIMABLE} AND is_due", f"{CLAIMABLE} AND NOT is_due", RUNNING)
    cursor.execute("SELECT " + " OR ".join(f"EXISTS (SELECT 1 FROM {name} WHERE {one})" for one in conditions))
    return bool(cursor.fetchone()[0])


def drop_detached() -> None:
    """Drop the detached partitions, also those that an interrupted process has left.

    A transaction of its own does it, because to remove the files takes a while and the table's lock is over by then.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND NOT relispartition"
            " AND relnamespace = current_schema()::regnamespace AND relname ~ %s",
            [rf"^({'|'.join(PARTITIONED)})_(before_)?\d{{4}}w\d\d$"],
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"DROP TABLE {name}")


@contextmanager
def one_at_a_time(number: int) -> Iterator[None]:
    """Run the block in a transaction, in one process of all machines at a time; `number` stands for the block.

    SQLite needs no lock of its own for it, as it has one write transaction at a time.
    """
    with transaction.atomic():
        if are_used():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
        yield

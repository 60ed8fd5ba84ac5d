"""Weekly partitions of the growing tables, on PostgreSQL only: made ahead, taken off whole, dropped.

A week is a range of ids, because a UUIDv7 holds the moment of its making. What fits no week lies in the DEFAULT
partition, and what was stored before there were partitions in one that has no lower bound. An attempt to change
them gives up where a lock is not to be had at once: nobody waits behind it for longer than LOCK_TIMEOUT.
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
WEEKS_AHEAD = 2  # beside the current one: a week of missed housekeeping is no harm, and more cost planning time
LOCK_TIMEOUT = "500ms"
MOVABLE = 10_000  # rows of a week that are moved out of DEFAULT when the week gets its partition

EXECUTIONS = {
    "executions_execution": "id",
    "executions_steprun": "execution_id",
    "executions_payload": "execution_id",
    "executions_attempt": "execution_id",
}
RECEIPTS = {"executions_receipt": "id"}
PARTITIONED = EXECUTIONS | RECEIPTS  # and the column that holds the id

BOUNDS = re.compile(r"FROM \((?:'([^']+)'|MINVALUE)\) TO \('([^']+)'\)")


@dataclass(frozen=True, slots=True)
class Partition:
    name: str
    start: uuid.UUID | None  # None: everything before its end
    end: uuid.UUID


def are_used() -> bool:
    return connection.vendor == "postgresql"


def week_of(moment: datetime) -> datetime:
    """Return the start of the ISO week (UTC)."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def partitions_of(table: str) -> list[Partition]:
    """Return the partitions but DEFAULT, oldest first."""
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
    """Make the plain tables partitioned without rewriting a row: each becomes its own first partition."""
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
    cursor.execute(f"CREATE TEMPORARY TABLE ahead ON COMMIT DROP AS SELECT * FROM {old} WHERE {key} >= %s", [end])
    cursor.execute(f"DELETE FROM {old} WHERE {key} >= %s", [end])
    cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {old} FOR VALUES FROM (MINVALUE) TO ('{end}')")
    cursor.execute(f"INSERT INTO {table} SELECT * FROM ahead")
    cursor.execute("DROP TABLE ahead")


def make_weeks(now: datetime) -> list[str]:
    """Make the partitions of this week and those ahead where they are missing; return the new ones."""
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


def add_index(table: str, name: str, of: str) -> None:
    """Make an index, one a partition, that stops no writer; begun again, it goes on where it ended.

    `of` is what follows the table's name: columns, and a condition. Not within a transaction.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE INDEX IF NOT EXISTS {name} ON ONLY {table} {of}")
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass"
            " AND inhrelid NOT IN (SELECT x.indrelid FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhrelid"
            " WHERE i.inhparent = %s::regclass) ORDER BY 1",
            [table, name],
        )
        for (partition,) in cursor.fetchall():
            own = partition.replace("executions_", "", 1) + name.removeprefix(table.removeprefix("executions_"))
            cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {own}")  # begun, and not ended
            cursor.execute(f"CREATE INDEX CONCURRENTLY {own} ON {partition} {of}")
            cursor.execute(f"ALTER INDEX {name} ATTACH PARTITION {own}")


@contextmanager
def _impatient() -> Iterator[Any]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        yield cursor


def _make_week(table: str, key: str, week: datetime) -> bool:
    """Make a week's partition; return False where too much of that week lies in DEFAULT already, and stays there."""
    name, start, end = f"{table}_{_label(week)}", first_id_at(week), first_id_at(week + WEEK)
    within = f"{key} >= '{start}' AND {key} < '{end}'"
    with _impatient() as cursor:
        # ATTACH locks DEFAULT alike; CREATE ... PARTITION OF would lock the whole table.
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
    """Return whether all that it holds belongs to organizations that no longer keep it, and has ended."""
    has_status = partition.startswith("executions_execution")
    is_open = f"{OPEN} OR " if has_status else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT NOT EXISTS (SELECT 1 FROM {partition} WHERE {is_open}NOT organization_id = ANY(%s))",
            [list(expired)],
        )
        return bool(cursor.fetchone()[0])


def drop(partition: Partition, tables: Collection[str]) -> list[str]:
    """Take the range off all the tables at once, then drop it; return what went."""
    found = [(table, part.name) for table in tables for part in partitions_of(table) if part.end == partition.end]
    with _impatient() as cursor:
        for table, name in found:
            cursor.execute(f"ALTER TABLE {table} DETACH PARTITION {name}")
        if any(table == "executions_execution" and _is_open(cursor, name) for table, name in found):
            transaction.set_rollback(True)
            return []
    drop_detached()
    return [name for _, name in found]


def _is_open(cursor: Any, name: str) -> bool:
    """Return whether something in it was started again since it was looked at; indexes make it quick under the lock."""
    cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {name} WHERE {CLAIMABLE}) OR EXISTS"
                   f" (SELECT 1 FROM {name} WHERE {RUNNING})")  # fmt: skip
    return bool(cursor.fetchone()[0])


def drop_detached() -> None:
    """Drop what has been taken off, by this run or by one that was ended between the two: its files take a while."""
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
    """Let one process of all machines do this at a time, in a transaction; SQLite's has no company anyway."""
    with transaction.atomic():
        if are_used():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
        yield

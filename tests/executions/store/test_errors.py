"""Every error of the database, raised by the database itself, and what the table says of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from django.db import Error, connection, transaction

from executions.store import errors
from executions.store.errors import (
    AWAY,
    BEHIND,
    BUG,
    LOCKED,
    POISONED,
    READ_ONLY,
    SQLSTATES,
    VALUE,
    Fault,
    fault_of,
)  # fmt: skip

ONLY_POSTGRESQL = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLSTATE is PostgreSQL's")
ONLY_SQLITE = pytest.mark.skipif(connection.vendor != "sqlite", reason="these are errors of SQLite")

# --- what follows

FOLLOWS = {  # passes (503, tried again), blames values (one by one, one execution fails), drops the connection
    AWAY: (True, False, True),
    **dict.fromkeys(errors.UNTRUSTED.values(), (True, False, True)),
    READ_ONLY: (True, False, True),
    LOCKED: (True, False, False),
    POISONED: (True, False, True),
    BEHIND: (True, False, True),
    VALUE: (False, True, False),
    BUG: (False, False, True),
}


@pytest.mark.parametrize("fault", errors.FAULTS, ids=lambda fault: fault.name)
def test_every_kind_says_what_follows(fault: Fault) -> None:
    assert (fault.passes, fault.blames_values, fault.drops) == FOLLOWS[fault]
    assert fault.sentence.endswith(".")


# --- PostgreSQL

RAISED = [
    ("25006", READ_ONLY), ("53100", READ_ONLY), ("42501", READ_ONLY), ("55P03", LOCKED), ("40P01", LOCKED),
    ("40001", LOCKED), ("57014", LOCKED), ("53300", AWAY), ("57P01", AWAY), ("57P03", AWAY), ("08006", AWAY),
    ("40003", AWAY), ("58030", AWAY), ("08P01", POISONED), ("26000", POISONED), ("0A000", POISONED),
    ("25P02", POISONED), ("42P01", BEHIND), ("42703", BEHIND), ("22003", VALUE), ("22P02", VALUE), ("23505", VALUE),
    ("23514", VALUE), ("54000", VALUE), ("P0001", VALUE), ("42601", BUG), ("XX000", BUG), ("99999", BUG),
]  # fmt: skip


@ONLY_POSTGRESQL
@pytest.mark.django_db
@pytest.mark.parametrize(("sqlstate", "fault"), RAISED)
def test_an_error_of_postgresql_has_its_kind(sqlstate: str, fault: Fault) -> None:
    with pytest.raises(Error) as raised, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$")

    assert fault_of(raised.value) is fault


def test_every_code_of_the_table_is_one_that_postgresql_has() -> None:
    known = {code for code in vars(psycopg.errors).values() if isinstance(code, type)}
    codes = {code for error in known if isinstance(code := getattr(error, "sqlstate", None), str)}
    classes = {code[:2] for code in codes}

    assert {code for code in SQLSTATES if len(code) == 5} <= codes
    assert {code for code in SQLSTATES if len(code) == 2} <= classes


@ONLY_POSTGRESQL
@pytest.mark.django_db(transaction=True)
def test_a_connection_whose_prepared_statement_is_gone_is_not_kept() -> None:
    connection.ensure_connection()
    poisoned = connection.connection
    with pytest.raises(Error) as raised, connection.cursor() as cursor:
        cursor.execute("EXECUTE never_prepared")

    assert errors.let_go(raised.value) is POISONED
    assert poisoned.closed
    assert "such as PgBouncer" in errors.in_words(raised.value)


# --- SQLite


@pytest.fixture
def file(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "a.sqlite3", isolation_level=None, timeout=0)) as file:
        file.execute("CREATE TABLE a (number INTEGER PRIMARY KEY CHECK (number > 0), text)")
        yield file


def lock(file: sqlite3.Connection, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        file.execute("INSERT INTO a VALUES (1, '')")


def fill(file: sqlite3.Connection, _: Path) -> None:
    file.execute("PRAGMA max_page_count = 2")
    file.execute("INSERT INTO a VALUES (1, zeroblob(100000))")


def write_read_only(_: sqlite3.Connection, path: Path) -> None:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
        reader.execute("INSERT INTO a VALUES (1, '')")


MADE: dict[str, tuple[Callable[[sqlite3.Connection, Path], object], Fault]] = {
    "locked": (lock, LOCKED),
    "full": (fill, READ_ONLY),
    "read-only": (write_read_only, READ_ONLY),
    "no file": (lambda *_: sqlite3.connect("/nonexistent/a.sqlite3"), AWAY),
    "no table": (lambda file, _: file.execute("SELECT * FROM b"), BEHIND),
    "no column": (lambda file, _: file.execute("SELECT b FROM a"), BEHIND),
    "no column to write": (lambda file, _: file.execute("INSERT INTO a (b) VALUES (1)"), BEHIND),
    "twice": (lambda file, _: [file.execute("INSERT INTO a VALUES (1, '')") for _ in range(2)], VALUE),
    "check": (lambda file, _: file.execute("INSERT INTO a VALUES (-1, '')"), VALUE),
    "too large": (lambda file, _: file.execute("INSERT INTO a VALUES (1, zeroblob(2000000000))"), VALUE),
    "surrogate": (lambda file, _: file.execute("INSERT INTO a VALUES (1, ?)", ["\ud83d"]), VALUE),
    "integer": (lambda file, _: file.execute("INSERT INTO a VALUES (?, '')", [2**70]), VALUE),
    "syntax": (lambda file, _: file.execute("SELEC 1"), BUG),
}


@ONLY_SQLITE
@pytest.mark.parametrize("made", MADE)
def test_an_error_of_sqlite_has_its_kind(made: str, file: sqlite3.Connection, tmp_path: Path) -> None:
    cause, fault = MADE[made]

    with pytest.raises(Exception) as raised, connection.wrap_database_errors:
        cause(file, tmp_path / "a.sqlite3")

    assert fault_of(raised.value) is fault

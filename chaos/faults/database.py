"""Faults of the database: crashed, cut off, locked by a stranger."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from chaos.faults.kinds import Fault
from executions.states import Status
from harness.databases import SqliteDatabase
from harness.processes import until

if TYPE_CHECKING:
    from chaos.nemesis import Nemesis

LOCKED_S, SHORTLY_S = 40.0, 5.0  # seconds of a stranger's lock: long and short form
A_RUNNING_ROW = "SELECT id FROM executions_execution WHERE status = %s LIMIT 1 FOR UPDATE SKIP LOCKED"


def crash(nemesis: Nemesis) -> None:
    """Crash PostgreSQL while callers wait for a Response step, whose replies must come afterwards."""
    server = nemesis.scene.server
    assert server is not None
    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            pool.submit(nemesis.driver.post, "respond", key=nemesis.new_key("crash"))
        time.sleep(0.3)
        server.stop()
        time.sleep(nemesis.random.uniform(0, 2))
        server.start()


def promote(nemesis: Nemesis) -> None:
    """Lose the primary for good, promote its synchronous standby, which has all that was answered, and add another."""
    servers = nemesis.scene.pair
    assert servers is not None
    servers.kill_primary()
    time.sleep(nemesis.random.uniform(0, 2))
    servers.promote()
    servers.replace_primary()
    nemesis.scene.server = servers.primary


def cut_connections(nemesis: Nemesis) -> None:
    for _ in range(3):
        nemesis.scene.installation.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        time.sleep(1)


def hold_shortly(nemesis: Nemesis) -> None:
    """Hold the file's write lock, as a slow second writer would."""
    hold_file(nemesis, nemesis.random.uniform(2, 6))


def hold_file(nemesis: Nemesis, seconds: float) -> None:
    database = nemesis.scene.installation.database
    assert isinstance(database, SqliteDatabase)
    connection = sqlite3.connect(database.path, timeout=20, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def lock_a_row(nemesis: Nemesis) -> None:
    """Hold the row of a running execution, as somebody does who has left a transaction open: only it may wait."""
    with _stranger(nemesis) as connection:
        until(lambda: connection.execute(A_RUNNING_ROW, [Status.RUNNING]).fetchone(), within=60, every=0.01,
              what="an execution runs")  # fmt: skip
        time.sleep(nemesis.seconds(LOCKED_S, SHORTLY_S))


def lock_the_table(nemesis: Nemesis) -> None:
    """Have the executions to oneself, as VACUUM FULL does."""
    with _stranger(nemesis) as connection:
        connection.execute("LOCK TABLE executions_execution IN ACCESS EXCLUSIVE MODE")
        time.sleep(nemesis.seconds(LOCKED_S, SHORTLY_S))


@contextmanager
def _stranger(nemesis: Nemesis) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection whose transaction ends with the block."""
    with psycopg.connect(nemesis.scene.installation.database.url) as connection:
        yield connection
        connection.rollback()


ON_POSTGRESQL = frozenset({"postgresql"})
FOR_ALL: dict[str, Any] = {"hits_web": True, "is_everywhere": True, "needs": ON_POSTGRESQL}
FAULTS = {
    "PostgreSQL crashes": Fault(strike=crash, **FOR_ALL),
    "the standby is promoted": Fault(strike=promote, **FOR_ALL | {"needs": frozenset({"standby"})}),
    "all connections cut": Fault(strike=cut_connections, **FOR_ALL),
    "a stranger locks the table": Fault(strike=lock_the_table, takes_s=LOCKED_S, **FOR_ALL),
    "a stranger locks a row": Fault(strike=lock_a_row, takes_s=LOCKED_S, needs=ON_POSTGRESQL),
    "another writer holds the file": Fault(strike=hold_shortly, hits_web=True, needs=frozenset({"sqlite"})),
}

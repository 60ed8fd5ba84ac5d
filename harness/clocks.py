"""Clocks that a test moves while everything runs: the wall clock of chosen processes, or that of a PostgreSQL database.

Time namespaces do not move the wall clock, and under libfaketime 0.9.10 `time.sleep` fails now and then. A library of
our own, compiled here, answers the processes that are started with it; their monotonic clock stays.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from harness.databases import PostgresqlDatabase
from harness.postgresql import Missing

SOURCE = Path(__file__).with_name("moved_clock.c")

# Found before PostgreSQL's own functions by each new connection to the database.
MOVED_FUNCTIONS = """
CREATE SCHEMA moved;
CREATE TABLE moved.clock AS SELECT interval '0' AS ahead;
CREATE FUNCTION moved.now() RETURNS timestamptz STABLE LANGUAGE sql
    AS $$ SELECT pg_catalog.now() + (SELECT ahead FROM moved.clock) $$;
CREATE FUNCTION moved.statement_timestamp() RETURNS timestamptz STABLE LANGUAGE sql
    AS $$ SELECT pg_catalog.statement_timestamp() + (SELECT ahead FROM moved.clock) $$;
CREATE FUNCTION moved.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql
    AS $$ SELECT pg_catalog.clock_timestamp() + (SELECT ahead FROM moved.clock) $$;
ALTER DATABASE {database} SET search_path = moved, pg_catalog, public;
"""


class HostClock:
    """The wall clock of processes that are started with `environment`; raise Missing without a C compiler.

    `directory` gets its two files; `name` tells several clocks apart.
    """

    def __init__(self, directory: Path, name: str = "clock", *, ahead_s: int = 0) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if not compiler:
            raise Missing("no C compiler is installed")
        library, self.file = directory / f"{name}.so", directory / name
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, SOURCE], check=True, timeout=60)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_FILE": str(self.file)}
        self.file.touch()
        self.move(ahead_s)

    def move(self, ahead_s: int) -> None:
        """Set the clock to so many seconds ahead of this machine's, at once."""
        with self.file.open("r+b") as file:  # the processes have mapped it
            file.write(ahead_s.to_bytes(8, sys.byteorder, signed=True))


class DatabaseClock:
    """The clock of a PostgreSQL database, for connections that are made from now on."""

    def __init__(self, database: PostgresqlDatabase) -> None:
        self.database = database
        for statement in MOVED_FUNCTIONS.format(database=database.name).split(";\n"):
            database.query(statement)

    def move(self, ahead_s: int) -> None:
        """Set the clock to so many seconds ahead of this machine's."""
        self.database.query("UPDATE moved.clock SET ahead = make_interval(secs => %s)", [ahead_s])

"""The database of a backup: SQLite through its backup interface, PostgreSQL through pg_dump and pg_restore."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

from django.db import connection
from django.db.backends.postgresql.client import DatabaseClient

from projects.backups.durable import new_file
from projects.backups.manifest import BackupError
from projects.models import Installation

FILES = {"sqlite": "database.sqlite3", "postgresql": "database.dump"}
PAGES = 256  # of SQLite in one step: a megabyte
PAUSE_S = 0.001  # seconds between two steps, which leave the disk to the service
SIDE_FILES = ("-wal", "-shm", "-journal")
PROGRAM_MISSING = (
    "{program} is not on the PATH. Install PostgreSQL's client programs, of the server's release or newer (Debian and "
    "Ubuntu: apt install postgresql-client)."
)
MARK = f"UPDATE projects_installation SET home = '{Installation.RESTORED}'"  # so that it starts quiet
NOT_EMPTY = (
    "The database is not empty: {place}. A backup is restored into a new installation only. Name another "
    "DATABASE_URL or DATA_DIR, or move the old data away."
)


def dump(folder: Path) -> Path:
    """Write the data of one moment into the folder while the service runs; return the file."""
    file = folder / FILES[connection.vendor]
    if connection.vendor == "sqlite":
        _copy(Path(connection.settings_dict["NAME"]), file)
    else:
        _run("pg_dump", "--format=custom", f"--file={file}")
    return file


def load(file: Path) -> None:
    """Fill the empty database from a file, wholly or not at all; what it holds then keeps quiet."""
    if tables := connection.introspection.table_names():
        raise BackupError(NOT_EMPTY.format(place=f"it has the table {tables[0]}"))
    connection.close()
    if connection.vendor == "sqlite":
        _put(file, Path(connection.settings_dict["NAME"]))
        return
    _run("pg_restore", "--single-transaction", "--no-owner", "--no-privileges", last=str(file))
    with connection.cursor() as cursor:
        cursor.execute(MARK)


def _copy(source: Path, target: Path) -> None:
    """Copy an SQLite database as it is now; writers go on, and what they write is not in the copy."""
    with closing(sqlite3.connect(source, isolation_level=None)) as old, closing(sqlite3.connect(target)) as new:
        old.execute("BEGIN")
        old.execute("SELECT 1 FROM sqlite_schema").fetchone()  # from here on it reads the data of this moment:
        # without it each commit of others would make the copy begin anew, and it might never end
        old.backup(new, pages=PAGES, progress=lambda *_: time.sleep(PAUSE_S))
        new.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
    target.chmod(0o600)


def _put(file: Path, place: Path) -> None:
    with new_file(place) as part:
        shutil.copyfile(file, part)
        part.chmod(0o600)
        with closing(sqlite3.connect(part)) as data:
            data.execute(MARK)
            data.commit()
        for ending in SIDE_FILES:  # of the empty database, which would be taken for the new one's
            place.with_name(place.name + ending).unlink(missing_ok=True)


def _run(program: str, *options: str, last: str = "") -> None:
    """Run a program of PostgreSQL on this database; its password stands in the environment, where nobody else sees it.

    `last` is the program's own argument after the database; without it the database is the last.
    """
    arguments, environment = DatabaseClient.settings_to_cmd_args_env(connection.settings_dict, ["--no-password"])
    where, name = arguments[1:-1], arguments[-1]
    command = [program, *where, *options, *([f"--dbname={name}", last] if last else [name])]
    try:
        done = subprocess.run(
            command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise BackupError(PROGRAM_MISSING.format(program=program)) from None
    if done.returncode:
        raise BackupError(f"{program} failed: {done.stderr.strip() or f'exit code {done.returncode}'}")

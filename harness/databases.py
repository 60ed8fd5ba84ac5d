"""The databases of installations under test: a file each, or a database each on one PostgreSQL."""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg.rows import dict_row

type Row = dict[str, Any]


class Database(Protocol):
    url: str

    def copy(self, directory: Path) -> Database:
        """Return a new database with the same content."""

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run one statement, committed at once; `%s` marks a parameter on both."""

    def away(self) -> AbstractContextManager[None]:
        """Keep everybody from writing within the block, as if the server were down or another writer held the file."""

    def drop(self) -> None: ...


class SqliteDatabase:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "agentos.sqlite3"
        self.url = f"sqlite:///{self.path}"

    def copy(self, directory: Path) -> SqliteDatabase:
        new = SqliteDatabase(directory)
        shutil.copy(self.path, new.path)
        return new

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        connection = sqlite3.connect(self.path, timeout=20, isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            values = [value.hex if isinstance(value, uuid.UUID) else value for value in parameters]
            return [dict(row) for row in connection.execute(sql.replace("%s", "?"), values)]
        finally:
            connection.close()

    @contextmanager
    def away(self) -> Iterator[None]:
        with closing(sqlite3.connect(self.path, timeout=20, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)


class PostgresqlDatabase:
    def __init__(self, server: str, *, template: str | None = None) -> None:
        self.server = server
        self.name = f"agentos_{uuid.uuid4().hex}"
        self._administer(f"CREATE DATABASE {self.name}" + (f" TEMPLATE {template}" if template else ""))
        address, _, parameters = server.partition("?")
        self.url = f"{address.rpartition('/')[0]}/{self.name}{parameters and '?' + parameters}"

    def copy(self, directory: Path) -> PostgresqlDatabase:
        return PostgresqlDatabase(self.server, template=self.name)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        with psycopg.connect(self.url, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(sql, list(parameters))
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def away(self) -> Iterator[None]:
        self._administer(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS false")
        self._administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.name}'")
        try:
            yield
        finally:
            self._administer(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS true")

    def drop(self) -> None:
        self._administer(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")

    def _administer(self, sql: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(sql)

"""What a database's dialect must offer to the statements of the store."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from django.db import connection

type Row = tuple[Any, ...]
type Answer = Callable[[], list[Row]]  # waits for a statement's rows

WORK_CHANNEL, REPLY_CHANNEL = "agentos_work", "agentos_reply"

STEP_COLUMNS = (
    "execution_id", "attempt", "key", "iteration", "organization_id", "position", "status", "connector", "action",
    "title", "tries", "started_at", "finished_at", "resume_at", "input", "input_bytes", "output", "output_bytes",
    "error_code", "error", "is_external",
)  # fmt: skip
STEP_KEY = STEP_COLUMNS[:4]
PAYLOAD_COLUMNS = ("execution_id", "attempt", "key", "iteration", "side", "organization_id", "body")


def upsert(table: str, columns: Sequence[str], key: Sequence[str]) -> str:
    """Return the end of an INSERT that overwrites the row with the same key."""
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in key)
    return f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"


_uuid = lru_cache(maxsize=10_000)(uuid.UUID)


class Dialect(ABC):
    """Values, many rows at once, and the wake-up."""

    now: str  # the database's clock, as SQL
    this_minute: str
    seconds_ago: str  # a moment, from a parameter
    due_ago: str  # the same, to compare with an index

    @abstractmethod
    def seconds_since(self, moment: str) -> str:
        """Return the seconds since a column's or expression's moment, as SQL on the database's clock."""

    # --- values, as this dialect takes and gives them

    @abstractmethod
    def uid(self, value: uuid.UUID) -> Any: ...

    @abstractmethod
    def at(self, value: datetime | None) -> Any: ...

    def to_uuid(self, value: Any) -> uuid.UUID:
        return value if isinstance(value, uuid.UUID) else uuid.UUID(value)

    def known_uuid(self, value: Any) -> uuid.UUID:
        """Return one of the few that many rows share."""
        return value if isinstance(value, uuid.UUID) else _uuid(value)

    def to_time(self, value: Any) -> datetime | None:
        moment: datetime | None = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment

    def moment(self, value: Any) -> datetime:
        """Return a moment that is there."""
        found = self.to_time(value)
        assert found is not None
        return found

    @abstractmethod
    def tune(self) -> None:
        """Make this thread's new connection the store's: it repeats the same few statements for ever."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Open a transaction that writes, for one of the threads that do nothing else."""

    @abstractmethod
    def pipeline(self, *, is_durable: bool = True) -> AbstractContextManager[None]:
        """Open a transaction of `ask` and its kin only, whose statements do not wait for one another's end.

        One that is not durable survives the death of any process of ours, but perhaps not a power cut or a crash of the
        database. A claim may be lost then: nothing that hangs on it is kept without a durable commit after it.
        """

    @abstractmethod
    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> Answer:
        """Send a statement; what it answers is waited for when it is read."""

    def cursor(self) -> AbstractContextManager[Any]:
        """Return a cursor of this thread's connection."""
        return connection.cursor()

    # --- many rows at once

    @abstractmethod
    def insert_many(self, table: str, columns: Sequence[str], rows: list[Row], ending: str = "") -> None: ...

    @abstractmethod
    def among(self, column: str, ids: Iterable[uuid.UUID]) -> tuple[str, list[Any]]:
        """Return `column` being one of the ids, as SQL with its parameters."""

    # --- wake-up

    @abstractmethod
    def notify_work(self) -> None: ...

    @abstractmethod
    def notify_reply(self) -> None: ...

    def ask_many(self, columns: str, of: str, parameters: Sequence[Any] = ()) -> Answer:
        """Ask for `columns` of what may be hundreds of rows."""
        return self.ask(f"SELECT {columns} {of}", parameters)

    def _run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self.ask(sql, parameters)

    def _changed(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run an INSERT, UPDATE or DELETE and return the number of its rows."""
        return len(self.ask(f"{sql} RETURNING 1", parameters)())

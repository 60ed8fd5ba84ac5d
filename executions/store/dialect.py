"""The differences between PostgreSQL and SQLite, as the store's statements see them."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
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


def upsert(columns: Sequence[str], key: Sequence[str]) -> str:
    """Return the ON CONFLICT clause by which an INSERT overwrites the row with the same key."""
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in key)
    return f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"


_cached_uuid = lru_cache(maxsize=10_000)(uuid.UUID)


class Dialect(ABC):
    """Values, statements over many rows, transactions and the wake-up in one database's words."""

    now: str  # the database's clock, as SQL
    seconds_ago: str  # the moment that lies a parameter's seconds back, as SQL
    due_ago: str  # the same, constant within a statement, so that an index can be searched for it
    is_due: str  # the condition that an execution waits for a slot only, worded as in the partial indexes
    is_not_due: str
    skip_locked: str  # the end of a SELECT that locks its rows, and leaves out those that others have locked

    lock_lease: str  # the end of a SELECT that keeps an engine's row from being deleted, and from nothing else

    @abstractmethod
    def seconds_since(self, moment: str) -> str:
        """Return SQL for the seconds since a column's or expression's moment, on the database's clock."""

    @abstractmethod
    def earlier(self, moment: str) -> str:
        """Return SQL for the moment that lies a parameter's seconds before another one."""

    @abstractmethod
    def minute(self, moment: str) -> str:
        """Return SQL for the start of a moment's minute."""

    @property
    def this_minute(self) -> str:
        return self.minute(self.now)

    # --- values, as this dialect takes and gives them

    @abstractmethod
    def uid(self, value: uuid.UUID) -> Any: ...

    @abstractmethod
    def at(self, value: datetime | None) -> Any: ...

    def to_uuid(self, value: Any) -> uuid.UUID:
        return value if isinstance(value, uuid.UUID) else uuid.UUID(value)

    def known_uuid(self, value: Any) -> uuid.UUID:
        """Return an id that many rows share, parsed only once."""
        return value if isinstance(value, uuid.UUID) else _cached_uuid(value)

    def to_time(self, value: Any) -> datetime | None:
        moment: datetime | None = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment

    def to_day(self, value: Any) -> date:
        return date.fromisoformat(value) if isinstance(value, str) else value

    def moment(self, value: Any) -> datetime:
        """Return the moment of a column that is never NULL."""
        found = self.to_time(value)
        assert found is not None
        return found

    @abstractmethod
    def tune(self, *, patience_s: float = 0) -> None:
        """Adapt the new connection of a thread that repeats the store's few statements for ever.

        With `patience_s` a statement that has waited so many seconds for a lock fails (`errors.is_lock_timeout`).
        SQLite has one lock, and `transaction` its own patience.
        """

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Open a write transaction, in a thread that does nothing else."""

    @abstractmethod
    def pipeline(
        self, *, prove: uuid.UUID | None = None, is_durable: bool = True
    ) -> AbstractContextManager[Callable[[], float | None]]:
        """Open a transaction whose statements do not wait for one another; inside, use `ask` and its kin only.

        `prove` is an engine whose lease it proves first; the function that it gives is `Leases.proof`'s.

        With `is_durable=False` the commit survives the death of any process of ours, but perhaps not a power cut or a
        crash of the database. A claim may be lost that way: no result of it is kept without a durable commit later.
        """

    @abstractmethod
    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> Answer:
        """Send a statement; the function returned waits for its rows."""

    # --- sessions, of which SQLite has none

    @abstractmethod
    def session(self) -> int:
        """Return the number that the database gives this connection; 0 if it gives none."""

    @abstractmethod
    def end_session(self, session: int, begun_s_ago: float) -> bool:
        """End the session of a lost connection whose last transaction began so many seconds ago.

        Return whether it is over, so that it commits nothing from now on.
        """

    @abstractmethod
    def confirm(self) -> None:
        """Return once all that is visible is as safe as a commit that was answered."""

    def cursor(self) -> AbstractContextManager[Any]:
        """Return a cursor of this thread's connection."""
        return connection.cursor()

    # --- many rows at once

    @abstractmethod
    def insert_many(self, table: str, columns: Sequence[str], rows: list[Row], ending: str = "") -> None:
        """Insert rows, which may be none; `ending` is the statement's ON CONFLICT clause."""

    @abstractmethod
    def among(self, column: str, ids: Iterable[uuid.UUID]) -> tuple[str, list[Any]]:
        """Return the SQL condition that `column` is one of the ids, and its parameters."""

    # --- wake-up

    @abstractmethod
    def notify_work(self) -> None:
        """Wake the engines after this transaction's commit; a random number chooses the machine that claims first."""

    @abstractmethod
    def notify_reply(self) -> None:
        """Wake the web processes, in which callers wait for replies, after this transaction's commit."""

    def ask_many(self, columns: str, source: str, parameters: Sequence[Any] = ()) -> Answer:
        """Ask for `columns` of hundreds of rows; `source` is the statement from FROM on."""
        return self.ask(f"SELECT {columns} {source}", parameters)

    def _run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self.ask(sql, parameters)

    def _changed(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run an INSERT, UPDATE or DELETE and return the number of its rows."""
        return len(self.ask(f"{sql} RETURNING 1", parameters)())

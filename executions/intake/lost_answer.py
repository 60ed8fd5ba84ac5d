"""A commit whose answer was lost has taken place or has not: a new connection tells which."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import Error

from executions.store import errors, store

LONGEST_DOUBT_S = 30.0  # seconds of asking a database that is away; senders wait meanwhile
PAUSE_S = 0.1  # seconds between two tries to ask


class InDoubt(Exception):
    """The database stays away, so nobody knows whether the request is stored."""


@dataclass(slots=True)
class Commit:
    """What is known of a transaction without its answer: its session (`Dialect.session`), its begin, monotonic time.

    `is_sent` says that only COMMIT was left: from there on the database alone knows the result.
    """

    session: int = 0
    begun_at: float = 0.0
    is_sent: bool = False

    def took_place(self, is_found: Callable[[], bool]) -> bool:
        """Return whether the transaction is committed; `is_found` looks for one of its rows.

        Its session is ended first, because it may be about to commit. What is found is confirmed: a server that crashed
        while it waited for a standby shows a commit that the standby may lack. Wait for a database that is away; raise
        InDoubt when it stays away for LONGEST_DOUBT_S.
        """
        errors.forget_connection()
        if not self.is_sent:
            return False
        deadline = time.monotonic() + LONGEST_DOUBT_S
        while True:
            try:
                if store().end_session(self.session, time.monotonic() - self.begun_at):
                    if is_stored := is_found():
                        store().confirm()
                    return is_stored
            except Error as error:
                errors.let_go(error)
            if time.monotonic() >= deadline:
                raise InDoubt
            time.sleep(PAUSE_S)

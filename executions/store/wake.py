"""Wake a process after a commit that may concern it.

PostgreSQL: LISTEN on a separate connection. SQLite: a doorbell (`executions.store.doorbell`), and where it stays dumb
`PRAGMA data_version`, which changes with every commit of another connection. Both also wake once a second, so that a
lost notification delays an execution by a second and never loses it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from django.db import connection

from executions.store import errors
from executions.store.dialect import REPLY_CHANNEL, WORK_CHANNEL
from executions.store.doorbell import Doorbell, ring

logger = logging.getLogger(__name__)

LONGEST_SLEEP_S = 1.0  # seconds between two calls at most
DATA_VERSION_POLL_S = 0.1  # seconds until a commit is noticed where no doorbell rings
RECONNECT_S = 0.5  # seconds between two tries to connect


class Wake(threading.Thread):
    """Thread that calls `on_wake` after every relevant commit, and at least once a second.

    `on_wake` gets the number from 0 to 255 that the commit rang with, by which machines share new work among them.
    None concerns every listener: several commits came together, or only time has passed.
    """

    def __init__(self, channel: str, on_wake: Callable[[int | None], None]) -> None:
        super().__init__(name=f"wake-{channel}", daemon=True)
        self.channel = channel
        self.on_wake = on_wake
        self.rest_s = 0.0  # seconds of rest after each call, for a listener that need not hear every commit
        self.stopping = threading.Event()

    def run(self) -> None:
        watch = self._listen if connection.vendor == "postgresql" else self._wait_for_rings
        while not self.stopping.is_set():
            try:
                watch()
            except Exception as error:
                logger.warning("wake-up lost its connection: %s", error)
                errors.forget_connection()  # a new connection begins with a call, for the commits that came meanwhile
                self.stopping.wait(RECONNECT_S)
        errors.forget_connection()

    def stop(self) -> None:
        self.stopping.set()

    def _listen(self) -> None:
        connection.ensure_connection()
        raw = connection.connection
        raw.autocommit = True
        raw.execute(f"LISTEN {self.channel}")
        self.on_wake(None)
        while not self.stopping.is_set():
            numbers = [_number(found.payload) for found in raw.notifies(timeout=LONGEST_SLEEP_S, stop_after=1)]
            self.on_wake(numbers[0] if len(numbers) == 1 else None)
            self.stopping.wait(self.rest_s)

    def _wait_for_rings(self) -> None:
        doorbell = Doorbell(self.channel)
        try:
            ring(self.channel, 0)  # also to itself: does it hear?
            if doorbell.wait(DATA_VERSION_POLL_S) is None:
                self._watch_data_version()
            self.on_wake(None)
            while not self.stopping.is_set():
                self.on_wake(doorbell.wait(LONGEST_SLEEP_S))
                self.stopping.wait(self.rest_s)
        finally:
            doorbell.close()

    def _watch_data_version(self) -> None:
        """Look at the number of commits ten times a second."""
        connection.ensure_connection()
        cursor = connection.connection.cursor()
        seen, woken_at = None, 0.0
        while not self.stopping.wait(DATA_VERSION_POLL_S):
            version, now = cursor.execute("PRAGMA data_version").fetchone()[0], time.monotonic()
            if version != seen or now - woken_at > LONGEST_SLEEP_S:
                seen, woken_at = version, now
                self.on_wake(None)


def _number(payload: str) -> int | None:
    return int(payload) if payload.isdigit() else None


def wake_for_work(on_wake: Callable[[int | None], None]) -> Wake:
    """Return a thread, to be started, that hears of executions which an engine may claim."""
    return Wake(WORK_CHANNEL, on_wake)


def wake_for_replies(on_wake: Callable[[int | None], None]) -> Wake:
    """Return a thread, to be started, that hears of replies, and of the ends of executions, for waiting callers."""
    return Wake(REPLY_CHANNEL, on_wake)

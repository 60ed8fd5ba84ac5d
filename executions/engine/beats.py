"""The beats of an engine: its lease is renewed in a thread and with a connection of their own.

So a lock on an execution's row, or on their whole table, holds up no beat, and a healthy engine keeps its lease.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from executions.store.away import AWAY, forget_connection

logger = logging.getLogger(__name__)

BEAT_S = 2.0  # seconds between two renewals of the lease, which is stale after 10 s (store.leases.STALE_AFTER_S)


class Beats(threading.Thread):
    """Calls a function every BEAT_S, from now on, until it is stopped; what it raises is logged."""

    def __init__(self, beat: Callable[[], None]) -> None:
        super().__init__(name="engine-beats", daemon=True)
        self.beat = beat
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                self.beat()
            except AWAY as error:
                logger.warning("database error, the next beat is in %s s: %s", BEAT_S, error)
                forget_connection()
            except Exception:
                logger.exception("a beat of the engine failed")
                forget_connection()
            self.stopping.wait(BEAT_S)
        forget_connection()

    def stop(self) -> None:
        self.stopping.set()

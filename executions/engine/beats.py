"""The beats of an engine: its lease is renewed in a thread and with a connection of their own.

So a lock on an execution's row, or on their whole table, holds up no beat, and a healthy engine keeps its lease.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from executions.store import errors
from executions.store.leases import STALE_AFTER_S

logger = logging.getLogger(__name__)

BEAT_S = min(2.0, STALE_AFTER_S / 5)  # seconds between two renewals of the lease


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
            except Exception as error:
                if errors.fault_of(error).passes:
                    logger.warning("the next beat is in %s s: %s", BEAT_S, errors.in_words(error))
                else:
                    logger.exception("a beat of the engine failed")
                errors.forget_connection()
            self.stopping.wait(BEAT_S)
        errors.forget_connection()

    def stop(self) -> None:
        self.stopping.set()

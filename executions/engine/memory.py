"""Gives memory back to the system: a process that has worked on large data shrinks again.

The C library keeps what Python has freed, and errors keep their frames until the collector comes: after a burst of
answers of 10 MB, an engine with nothing to do held 650 MB.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

GROWTH = 32 * 1024 * 1024  # bytes beyond the least so far that are worth the search
COLLECT_AFTER = 3  # looks at a grown process: collecting stops all threads for some 10 ms
SELDOM = 32  # looks between two searches, at most, in a process that stays large
LOOK_S = 2.0
PAGE = resource.getpagesize()
STATM = Path("/proc/self/statm")
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # of mallopt(3), from <malloc.h>
# By itself glibc raises the threshold to 32 MB once such a block was freed, and gives each thread an arena, of which
# one small piece keeps all that lies below it.
LARGE = 256 * 1024  # bytes of a block that goes back to the system as soon as it is freed
ARENAS = 2


def bound_arenas() -> None:
    """Have the C library keep little of what is freed; call it before threads start. Other libraries than glibc: no."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_ARENA_MAX, ARENAS)


class FreedMemory:
    """Knows the least that the process has needed. It does nothing where the C library cannot give back.

    `let_go` is called in a process that has been large for a while, in the thread that calls `give_back`.
    """

    def __init__(self, let_go: Callable[[], None] = lambda: None) -> None:
        self.let_go = let_go
        self.least = resident()
        self.last = self.least
        self.grown_for = 0  # looks
        self.trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def give_back(self) -> None:
        """Give back what is free while the process is larger than it need be; call it at regular intervals.

        In a process that stays as large as it is, the searches become rarer.
        """
        now = resident()
        self.least = min(self.least, now)
        if self.trim is None or now < self.least + GROWTH:
            self.grown_for = 0
            return
        self.grown_for = 1 if now > self.last + GROWTH else self.grown_for + 1
        if not (self.grown_for % SELDOM == 0 or self.grown_for.bit_count() == 1 or self.grown_for == COLLECT_AFTER):
            return
        if self.grown_for >= COLLECT_AFTER:
            self.let_go()
            gc.collect()
        self.trim(0)
        self.last = resident()


def keep_small() -> None:
    """Give memory back in a thread of its own, in a process that has no engine, until it ends."""
    threading.Thread(target=_keep_small, name="memory", daemon=True).start()


def _keep_small() -> None:
    memory = FreedMemory()
    while True:
        time.sleep(LOOK_S)
        try:
            memory.give_back()
        except Exception:
            logger.exception("memory could not be given back")


def resident() -> int:
    """Return the bytes of memory that this process has in use, or zero where the system does not tell."""
    try:
        return int(STATM.read_text().split()[1]) * PAGE
    except OSError:
        return 0

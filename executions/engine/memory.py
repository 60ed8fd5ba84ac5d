"""Gives memory back to the system after large answers.

The C library keeps what Python has freed, and errors keep their frames until the collector comes: after a burst of
answers of 10 MB, an engine with nothing to do held 650 MB.
"""

from __future__ import annotations

import ctypes
import gc
import resource
from pathlib import Path

GROWTH = 32 * 1024 * 1024  # bytes beyond the least so far that are worth the search
COLLECT_AFTER = 3  # looks at a grown process: collecting stops all threads for some 10 ms
PAGE = resource.getpagesize()
STATM = Path("/proc/self/statm")


class FreedMemory:
    """Knows the least that the process has needed. It does nothing where the C library cannot give back."""

    def __init__(self) -> None:
        self.least = resident()
        self.grown_for = 0  # looks
        self.trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def give_back(self) -> None:
        """Give back what is free while the process is larger than it need be; call it at regular intervals."""
        now = resident()
        self.least = min(self.least, now)
        if self.trim is None or now < self.least + GROWTH:
            self.grown_for = 0
            return
        self.grown_for += 1
        if self.grown_for % COLLECT_AFTER == 0:
            gc.collect()
        self.trim(0)


def resident() -> int:
    """Return the bytes of memory that this process has in use, or zero where the system does not tell."""
    try:
        return int(STATM.read_text().split()[1]) * PAGE
    except OSError:
        return 0

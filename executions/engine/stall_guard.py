"""Ends the execution whose Python code holds the event loop, and no other: before the watchdog ends the process.

A thread looks twice a second which piece of which execution's code runs, a piece being what runs between two waits. A
piece that has computed for STALL_CPU_S gets `Stalled` raised inside. Computing time counts, not the clock's: a machine
that was suspended, or has too much to do, stalls nobody. A piece that waits computes nothing and hears of no exception:
it ends the process. Code in C that holds the GIL is left to the watchdog of `black_box.py`.

The exception must never meet another piece, nor the loop itself. So two rules stand here. The thread raises it only
while the piece is still the one it has seen: between that comparison and the call Python changes no thread, because it
does so at calls and jumps back only. And `end`, which the loop calls after each piece, takes back an exception that has
not struck yet. What strikes between the piece and `end` is caught there (`loop_share.traced`).
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections.abc import Callable

from executions.engine.black_box import STALL_S
from executions.engine.lifeline import vital
from executions.runner.context import STALL_CPU_S, Stalled

logger = logging.getLogger(__name__)

LOOK_S = 0.5  # seconds between two looks
AGAIN_S = 1.0  # seconds of computing after which code that has caught the exception gets it once more
STRIKES = 3  # exceptions after which code that catches them all is left to the watchdog

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc  # holds the GIL throughout
_stalled = ctypes.py_object(Stalled)


class StallGuard:
    """Watches one event loop; all methods but `_watch` and `_strike` belong to the loop's thread."""

    def __init__(
        self, put_off_watchdog: Callable[[], None], end_process: Callable[[], None], meanwhile: Callable[[], None]
    ) -> None:
        self._put_off = put_off_watchdog
        self._end_process = end_process
        self._meanwhile = meanwhile  # called from the guard's thread while one piece holds the loop
        self._piece = 0  # the number of the piece that runs; 0 while none does
        self._count = 0
        self._is_aimed = False  # an exception may be on its way

    def start(self) -> None:
        """Watch the thread that calls this, until it ends; on systems without a clock for each thread do nothing."""
        if not hasattr(time, "pthread_getcpuclockid"):
            return
        self._thread = ctypes.c_ulong(threading.get_ident())
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        threading.Thread(target=vital(self._watch), name="stall-guard", daemon=True).start()

    def begin(self) -> None:
        """Note that another piece begins."""
        self._count += 1
        self._piece = self._count

    def end(self) -> None:
        """Note that the piece has ended; once this has returned, no exception for it is on its way."""
        self._piece = 0
        if self._is_aimed:
            self._is_aimed = False
            _raise_in(self._thread, None)

    # --- the guard's thread

    def _watch(self) -> None:
        seen, since, before, waits, strikes = 0, 0.0, 0.0, 0, 0
        while True:
            time.sleep(LOOK_S)
            try:
                computed = time.clock_gettime(self._clock)
            except OSError:
                return  # the loop's thread has ended
            piece = self._piece
            if not piece or piece != seen:
                seen, since, before, waits, strikes = piece, computed, computed, 0, 0
                continue
            self._meanwhile()
            if computed - since >= STALL_CPU_S + strikes * AGAIN_S:
                logger.warning("an execution has held the loop for %.1f s of computing and is ended", computed - since)
                self._strike(piece)
                strikes += 1
            if computed > before:
                before, waits = computed, 0
                if strikes <= STRIKES:
                    self._put_off()
                continue
            waits += 1  # looks, not seconds: a process that stood still has had none
            if waits * LOOK_S >= STALL_S:
                self._end_process()

    def _strike(self, piece: int) -> None:
        thread, stalled = self._thread, _stalled
        self._is_aimed = True  # first, so that `end` knows
        if self._piece == piece:  # from here to the call no other thread runs
            _raise_in(thread, stalled)

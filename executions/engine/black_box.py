"""The black box: a file that names the execution whose code holds the event loop, and outlives the process.

The file is mapped into memory, so writing it costs no system call, and the kernel keeps it when the process is killed.
After the engine's death another engine on the same machine reads it (docs/engine-deaths.md). The watchdog stands here
too: it ends a process whose loop stands still, and leaves the stacks of its threads in a second file. It counts the
time that the process computes, because on a machine with too much to do a moment of computing may take many seconds.
"""

from __future__ import annotations

import faulthandler
import math
import mmap
import os
import signal
import time
import uuid
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

from django.conf import settings

SIZE = 128  # bytes of the file: the execution's id (16), the step's key (65, padded with zeros), the rest unused
STALL_S = 5.0  # seconds of computing, or of waiting, with which one execution may hold the event loop
LONGEST_STALL_S = 60.0  # seconds by the clock, for code in C that holds the GIL and waits
ARM_EVERY_S = 1.0  # seconds between two arms of the watchdog while the loop is alive
NO_EXECUTION = bytes(16)  # the id in the file while no execution's code runs


@dataclass(frozen=True, slots=True)
class Evidence:
    """The traces of a dead engine; the defaults mean that nothing is known."""

    execution_id: uuid.UUID | None = None  # the execution whose code held the loop at the moment of death
    step: str = ""  # the key of its step; empty before the first step
    has_stalled: bool = False  # the watchdog ended the process


class BlackBox:
    """Writes the black box of one engine and arms its watchdog."""

    def __init__(self, engine_id: uuid.UUID) -> None:
        box, stall = paths_of(engine_id)
        box.parent.mkdir(parents=True, exist_ok=True)
        box.write_bytes(bytes(SIZE))
        with box.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)
        self._stall = stall.open("w")
        faulthandler.register(signal.SIGPROF, file=self._stall, all_threads=True, chain=True)  # then the process ends
        self._armed_at = math.inf  # monotonic time; infinite, so that only arm_watchdog() arms it for the first time

    def note_execution(self, execution_id: bytes, step: bytes) -> None:
        """Write down the execution whose code runs from now on, and its step as `step_field` gives it.

        Arms the watchdog anew if the last time is longer ago than ARM_EVERY_S. The execution then has STALL_S for
        itself: the executions that held the loop just before it do not shorten its time.
        """
        self._map[:81] = execution_id + step
        if time.monotonic() - self._armed_at > ARM_EVERY_S:
            self.arm_watchdog()

    def note_step(self, step: bytes) -> None:
        """Write down the step whose code runs from now on, as `step_field` gives it."""
        self._map[16:81] = step

    def clear(self) -> None:
        self._map[:16] = NO_EXECUTION

    def arm_watchdog(self) -> None:
        """Have this process end after STALL_S seconds of computing, unless this is called again before.

        The kernel counts, and faulthandler's handler and timer need no GIL: a regular expression or a loop that never
        yields cannot stop them. They write the stacks of all threads before the process ends.
        """
        self._armed_at = time.monotonic()
        signal.setitimer(signal.ITIMER_PROF, STALL_S)
        faulthandler.dump_traceback_later(LONGEST_STALL_S, exit=True, file=self._stall)

    def disarm_watchdog(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()

    def end_stalled(self) -> NoReturn:
        """End this process as the watchdog does."""
        faulthandler.dump_traceback(self._stall, all_threads=True)
        os._exit(1)


@lru_cache(maxsize=4096)
def step_field(key: str) -> bytes:
    """Return a step's key as it stands in the file; empty before the first step."""
    return key.encode().ljust(65, b"\0")


def paths_of(engine_id: uuid.UUID) -> tuple[Path, Path]:
    """Return the paths of the engine's black box and of the stacks that its watchdog writes."""
    folder = Path(settings.DATA_DIR) / "engines"
    return folder / f"{engine_id}.black-box", folder / f"{engine_id}.stall"


def is_process_of(engine_id: uuid.UUID, pid: int) -> bool:
    """Return whether the process with this pid is still the engine's: it has this very black box in its memory.

    The kernel gives the pid of an ended process to another one, which nobody here may kill. Nor may anybody kill the
    engine of the installation that this one is a copy of: its black box has the same name, in another folder.
    """
    box = paths_of(engine_id)[0].resolve()
    try:
        inode, maps = str(box.stat().st_ino), Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except OSError:
        return False
    lines = (line.split(maxsplit=5) for line in maps.splitlines())  # addresses, rights, offset, device, inode, path
    return any(line[4:] == [inode, str(box)] for line in lines)


def evidence_of(engine_id: uuid.UUID) -> Evidence:
    """Return the evidence that an engine of this machine left, or an empty one when its files cannot be read."""
    box, stall = paths_of(engine_id)
    try:
        content = box.read_bytes()
        has_stalled = stall.stat().st_size > 0
    except OSError:
        return Evidence()
    holder = uuid.UUID(bytes=content[:16]) if content[:16] != NO_EXECUTION else None
    return Evidence(holder, content[16:81].rstrip(b"\0").decode(errors="replace"), has_stalled)


def traces_of(engine_id: uuid.UUID) -> str:
    """Return the stacks that the watchdog wrote before it ended the process; empty when there are none."""
    try:
        return paths_of(engine_id)[1].read_text(errors="replace")
    except OSError:
        return ""


def remove(engine_id: uuid.UUID) -> None:
    for path in paths_of(engine_id):
        path.unlink(missing_ok=True)

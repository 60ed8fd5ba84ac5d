"""Evidence that outlives a worker: which execution's code held the loop when it died, and whether it stalled.

A file mapped into memory names the execution and its step; writing it costs no system call. Another engine of the
same machine reads it when it buries this one.
"""

from __future__ import annotations

import faulthandler
import math
import mmap
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

SIZE = 128
STALL_S = 5.0  # that one execution may hold the loop
WATCH_EVERY_S = 1.0
NOBODY = bytes(16)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a dead engine left behind."""

    execution_id: uuid.UUID | None = None  # whose code held the loop
    step: str = ""
    has_stalled: bool = False


class BlackBox:
    def __init__(self, engine_id: uuid.UUID) -> None:
        box, stall = files_of(engine_id)
        box.parent.mkdir(parents=True, exist_ok=True)
        box.write_bytes(bytes(SIZE))
        with box.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)
        self._stall = stall.open("w")
        self._watched_at = math.inf

    def hold(self, execution_id: bytes, step: bytes) -> None:
        """Say whose code runs from now on; it is this that may not stall, however long others had the loop before."""
        self._map[:16] = execution_id
        self.step(step)
        if time.monotonic() - self._watched_at > WATCH_EVERY_S:
            self.watch()

    def step(self, key: bytes) -> None:
        self._map[16:81] = key.ljust(65, b"\0")

    def let_go(self) -> None:
        self._map[:16] = NOBODY

    def watch(self) -> None:
        """End this process unless called again before it stalls: a thread in C, which needs no GIL."""
        self._watched_at = time.monotonic()
        faulthandler.dump_traceback_later(STALL_S, exit=True, file=self._stall)

    def stop_watching(self) -> None:
        faulthandler.cancel_dump_traceback_later()


def files_of(engine_id: uuid.UUID) -> tuple[Path, Path]:
    place = Path(settings.DATA_DIR) / "engines"
    return place / f"{engine_id}.black-box", place / f"{engine_id}.stall"


def is_of(engine_id: uuid.UUID, pid: int) -> bool:
    """Return whether the process is the engine's, whose file it has in memory: its pid may be another one's by now."""
    try:
        return f"/{engine_id}.black-box" in Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except OSError:
        return False


def evidence_of(engine_id: uuid.UUID) -> Evidence:
    """Return what an engine of this machine left behind; nothing known is evidence of nothing."""
    box, stall = files_of(engine_id)
    try:
        content = box.read_bytes()
        has_stalled = stall.stat().st_size > 0
    except OSError:
        return Evidence()
    holder = uuid.UUID(bytes=content[:16]) if content[:16] != NOBODY else None
    return Evidence(holder, content[16:81].rstrip(b"\0").decode(errors="replace"), has_stalled)


def traces_of(engine_id: uuid.UUID) -> str:
    """Return the stacks that the watchdog wrote before it ended the process."""
    try:
        return files_of(engine_id)[1].read_text(errors="replace")
    except OSError:
        return ""


def remove(engine_id: uuid.UUID) -> None:
    for file in files_of(engine_id):
        file.unlink(missing_ok=True)

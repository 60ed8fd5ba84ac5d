"""The processes under measurement: each in a group of its own, read through /proc, always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    rss_mb: float
    pss_mb: float

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.rss_mb + other.rss_mb, self.pss_mb + other.pss_mb)


class Group:
    """A command and all its descendants."""

    def __init__(self, command: Sequence[str], *, log: Path, env: Mapping[str, str], **options: Any) -> None:
        self.log = log
        self.is_stopped = False
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True, **options
            )

    def check(self) -> None:
        if self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.returncode}:\n{tail}")

    def members(self) -> list[int]:
        """Return the pids by descent: PostgreSQL gives each backend a group of its own."""
        children: dict[int, list[int]] = {}
        for pid, stat in _stats():
            children.setdefault(int(stat[1]), []).append(pid)
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu_s(self) -> float:
        """Return the CPU time used so far, that of ended children included once they are reaped."""
        members = set(self.members())
        return sum(sum(map(int, stat[11:15])) for pid, stat in _stats() if pid in members) * TICK_S

    def memory(self) -> Memory:
        return sum((_memory(pid) for pid in self.members()), Memory(0, 0))

    def stop(self, timeout_s: float = 25, first: signal.Signals = signal.SIGTERM) -> None:
        """End the group: politely, then for good. Ended before, it is left alone: its number may be another's now."""
        if self.is_stopped:
            return
        self.is_stopped = True
        members = self.members()
        if self.process.poll() is None:
            self.process.send_signal(first)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        _await_end(members)


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Yield every process with the fields of its /proc stat that follow the command's name."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                yield int(entry.name), (entry / "stat").read_text().rpartition(")")[2].split()


def _memory(pid: int) -> Memory:
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        sizes = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
        return Memory(sizes.get("Rss:", 0.0), sizes.get("Pss:", 0.0))
    return Memory(0, 0)


def _await_end(pids: list[int]) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.05)

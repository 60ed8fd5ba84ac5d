"""The CPU and memory of processes and all their descendants, read through /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.processes import descendants, stats

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    rss_mb: float
    pss_mb: float

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.rss_mb + other.rss_mb, self.pss_mb + other.pss_mb)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds used so far, including those of ended children that were waited for.

    Processes are found by descent, because PostgreSQL gives each backend a process group of its own.
    """
    members = {pid} | descendants(pid)
    return sum(stat.ticks for stat in stats() if stat.pid in members) * TICK_S


def memory(pid: int) -> Memory:
    return sum((_memory(member) for member in {pid} | descendants(pid)), Memory(0, 0))


def _memory(pid: int) -> Memory:
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        sizes = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
        return Memory(sizes.get("Rss:", 0.0), sizes.get("Pss:", 0.0))
    return Memory(0, 0)

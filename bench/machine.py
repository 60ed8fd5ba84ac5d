"""The machine on which the figures were measured."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agentos_site.interpreter import is_optimized
from harness.postgresql import Missing, binaries

PACKAGES = ("Django", "django-q2", "granian", "psycopg", "aiohttp", "uvloop", "orjson", "pydantic", "python-liquid")


def describe() -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "fdatasync_us": round(fdatasync_us()),
        "python": platform.python_version(),
        "python_is_optimized": is_optimized(),
        "sqlite": sqlite3.sqlite_version,
        "postgresql": _postgresql(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def line(machine: dict[str, Any]) -> str:
    loads = "/".join(f"{load:.2f}" for load in machine["load_average"])
    python = f"{machine['python']} {'with' if machine['python_is_optimized'] else 'without'} PGO"
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, load {loads},"
        f" fdatasync {machine['fdatasync_us']} us, Python {python}, SQLite {machine['sqlite']},"
        f" PostgreSQL {machine['postgresql']}; {packages}"
    )


def fdatasync_us(times: int = 50) -> float:
    """Return the median microseconds that it takes to make 4 KB durable in the data's directory."""
    costs = []
    with tempfile.TemporaryFile() as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            file.flush()
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            costs.append((time.perf_counter() - start) * 1e6)
    return statistics.median(costs)


def _cpu_model() -> str:
    for text in Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            return text.partition(":")[2].strip()
    return platform.machine()


def _postgresql() -> str:
    try:
        shown = subprocess.run([binaries() / "postgres", "--version"], capture_output=True, text=True, check=True)
    except Missing:
        return "none"
    return shown.stdout.split()[2]

"""Signals at any moment of a process's life: `python -m chaos --moments 100`, and a few of them in the tests.

A program is started; once it has so many processes, and a moment later, one of them gets a signal. Whatever it was,
SIGTERM to the first process must then end all of them within the drain, and leave the port free.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.databases import SqliteDatabase
from harness.installation import Installation
from harness.processes import Process, alive, descendants, end_leftovers, group_is_alive, until

PROGRAMS = {
    "web": ("-m", "agentos_site.web"),
    "cluster": ("manage.py", "qcluster"),
    "service": ("-m", "agentos_site"),
}
PROCESSES = {"web": 2, "cluster": 5, "service": 8}  # of each once it has started, with one worker
DRAIN_S = 20.0  # seconds within which a program ends, as docs/operating.md promises
STEADY_S = 60.0  # seconds until a program has forked all its processes, on a busy machine
LONGEST_S = 3.0  # seconds after a fork


@dataclass(frozen=True, slots=True)
class Moment:
    """When which process gets which signal."""

    program: str
    number: signal.Signals
    forks: int  # processes beside the first one; 0 strikes while the program still loads
    after_s: float = 0.0
    which: float = 0.0  # from 0 for the first process to nearly 1 for the youngest

    def __str__(self) -> str:
        return (
            f"{self.number.name} to process {self.which:.2f} of the {self.program}, {self.after_s:.3f} s after its"
            f" fork {self.forks}"
        )


def moments(count: int, seed: int) -> Iterator[Moment]:
    """Yield so many moments for each program and signal; half of them lie within milliseconds of a fork."""
    chance = random.Random(seed)
    for program in PROGRAMS:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for _ in range(count):
                after_s = chance.choice((0.02, LONGEST_S)) * chance.random()
                forks = chance.randrange(PROCESSES[program])
                yield Moment(program, number, forks, after_s, which=max(0.0, chance.uniform(-1, 1)))


def strike(installation: Installation, moment: Moment) -> list[str]:
    """Start the program, send the signal at its moment, end the program; return what was left or came too late."""
    process = installation.launch(f"{moment.program}.log", *PROGRAMS[moment.program])
    seen = {process.pid}
    with suppress(AssertionError):  # it may have ended: then the signal has nobody left to reach
        until(lambda: _has_forked(process, moment.forks, seen), within=STEADY_S, every=0.002)
    time.sleep(moment.after_s)
    found = sorted(descendants(process.pid) | {process.pid})
    seen |= set(found)
    with suppress(ProcessLookupError):
        os.kill(found[int(moment.which * len(found))], moment.number)
    return [f"{moment}: {found}" for found in _end(installation, process, seen)]


def _has_forked(process: Process, forks: int, seen: set[int]) -> bool:
    found = descendants(process.pid)
    seen |= found
    return len(found) >= forks or not process.is_alive


def _end(installation: Installation, process: Process, seen: set[int]) -> Iterator[str]:
    seen |= descendants(process.pid)
    if process.is_alive:
        process.popen.terminate()
    try:
        until(lambda: not process.is_alive and not alive(seen) and not group_is_alive(process.pid), within=DRAIN_S)
    except AssertionError:
        yield f"{len(alive(seen))} processes are left after {DRAIN_S:g} s"
    process.kill()
    yield from (f"left behind: {stray}" for stray in installation.strays())
    try:
        until(lambda: _is_free(installation.port), within=2)
    except AssertionError:
        yield "the port is not free"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def run(count: int, seed: int, say: Callable[[str], None]) -> bool:
    """Strike `count` times for each program and signal, on SQLite; return whether nothing was ever left."""
    found: list[str] = []
    with tempfile.TemporaryDirectory(prefix="agentos-moments-") as name:
        installation = Installation(Path(name), SqliteDatabase(Path(name)), WORKERS="1")
        installation.prepare()
        for moment in moments(count, seed):
            found += strike(installation, moment)
            with suppress(AssertionError):  # they are among what was found
                end_leftovers({"DATA_DIR": name}, within=0)
    say("\n".join(found) or f"nothing was left after any of {count * len(PROGRAMS) * 2} signals")
    return not found

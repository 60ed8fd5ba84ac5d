"""Processes: started in groups of their own, found in /proc, ended with all that they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

ROOT = Path(os.environ.get("HARNESS_ROOT") or Path(__file__).resolve().parent.parent)  # of the product's code
STARTED_BY = "HARNESS_STARTED_BY"  # names in the environment of a process the test that it was started for


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until[T](question: Callable[[], T], *, within: float = 15, every: float = 0.05, what: str = "") -> T:
    """Call the function until its result is true, and return the result; fail after `within` seconds."""
    deadline = time.monotonic() + within
    while not (answer := question()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what or question}")
        time.sleep(every)
    return answer


class Place(Protocol):
    """A machine that runs a function, as `harness.hosts.Host` is one."""

    def inside[T](self, what: Callable[[], T]) -> T: ...


class Process:
    """A running program and its process group, which is killed with it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        stdin: int = subprocess.DEVNULL,
        place: Place | None = None,
    ) -> None:
        """Start the command, on another machine than this with `place`."""
        self.log = log
        self.is_over = False
        with log.open("ab") as output:

            def start() -> subprocess.Popen[bytes]:
                return subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=dict(environment),
                    stdin=stdin,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

            self.popen = place.inside(start) if place else start()

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def is_alive(self) -> bool:
        return self.popen.poll() is None

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def terminate(self, *, within: float = 25) -> int:
        """Send SIGTERM, as an operator does, and return the exit code; fail when it does not end in time."""
        self.popen.terminate()
        return self.popen.wait(within)

    def end(self, *, within: float = 25) -> None:
        """Send SIGTERM and wait, kill the rest of the group, and wait for the processes that it has started."""
        started = descendants(self.pid) if self.is_alive else set()
        with suppress(subprocess.TimeoutExpired):
            if self.is_alive:
                self.terminate(within=within)
        self.kill()
        with suppress(AssertionError):
            until(lambda: not alive(started), within=5)

    def kill(self) -> None:
        """Kill the group, once: later its number may be another group's."""
        if self.is_over:
            return
        self.is_over = True
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait(5)


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process; it may have ended already, because a peer kills the process of a dead engine."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@dataclass(frozen=True, slots=True)
class Stat:
    """The state of a process as /proc tells it."""

    pid: int
    state: str
    parent: int
    group: int
    ticks: int  # of the CPU, by itself and by its ended children


def stats() -> Iterator[Stat]:
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            yield _stat(file)


def _stat(file: Path) -> Stat:
    fields = file.read_text().rpartition(")")[2].split()  # the name before them may hold spaces
    return Stat(int(file.parent.name), fields[0], int(fields[1]), int(fields[2]), sum(map(int, fields[11:15])))


def is_running(pid: int) -> bool:
    """Return whether the process runs; one that has ended but was not yet waited for does not."""
    try:
        return _stat(Path(f"/proc/{pid}/stat")).state != "Z"
    except OSError:
        return False


def group_is_alive(pgid: int) -> bool:
    """Return whether any process of the group still runs; a zombie does not."""
    return any(stat.group == pgid and stat.state != "Z" for stat in stats())


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descendants(pid: int) -> set[int]:
    """Return the children of a process and all their descendants, whatever their groups."""
    parents = {stat.pid: stat.parent for stat in stats()}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pids: set[int]) -> dict[int, str]:
    """Return the processes that still run, with their command lines; a zombie has none."""
    return {pid: line for pid in pids if (line := _command(pid))}


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


# --- what was left behind


@dataclass(frozen=True, slots=True)
class Leftover:
    """A process that outlived the one that started it."""

    pid: int
    parent: int
    group: int
    command: str
    started_by: str

    def __str__(self) -> str:
        who = f", started by {self.started_by}" if self.started_by else ""
        return f"process {self.pid} (parent {self.parent}, group {self.group}{who}): {self.command}"


def with_environment(values: Mapping[str, str], *, apart_from: Set[int] = frozenset()) -> list[Leftover]:
    """Return the processes whose environment holds all these values, apart from those of some groups.

    Children inherit the environment, so that this finds processes that no longer have a parent, a group or a session
    in common with it.
    """
    found = []
    for stat in stats():
        environment = _environment(stat.pid)
        if stat.state != "Z" and stat.group not in apart_from and environment.items() >= values.items():
            by = environment.get(STARTED_BY, "")
            found.append(Leftover(stat.pid, stat.parent, stat.group, _command(stat.pid), by))
    return found


def end_leftovers(values: Mapping[str, str], *, apart_from: Set[int] = frozenset(), within: float = 5) -> None:
    """Give the processes that `with_environment` finds time to end; kill the others and fail with their names."""
    deadline = time.monotonic() + within
    while (left := with_environment(values, apart_from=apart_from)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for one in left:
        with suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)
    until(lambda: not any(is_running(one.pid) for one in left), what="what was left behind has been killed")
    assert not left, "left behind, and killed now:\n" + "\n".join(map(str, left))


def _environment(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return dict(line.partition("=")[::2] for line in lines if "=" in line)

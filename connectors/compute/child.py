"""The processes that compute: run as `python -m connectors.compute.child`, started by `connectors.compute.crew`.

The first process imports what jobs need, forks a keeper for each line of the crew, and waits. A keeper takes one
request after the other and forks a child for each, which shares all pages with it, computes under limits and ends: so
a limit counts for one job, and nothing of an organization's data stays for the next. None of them has a thread, a
secret of the installation or the way to a network: the environment is empty, and a child can open no file or socket.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import select
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from connectors.compute import frames, jobs

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38  # of prctl(2), from <linux/prctl.h>
OUT_OF_MEMORY = 77  # exit code of a child whose memory was refused
WALL = 10  # times its computing time that a child may take, where the machine is busy
NICE = 5  # less of a busy machine than engines and web server get
# Said by a keeper in place of an outcome.
TIME, MEMORY, CRASH = WORDS = b"time", b"memory", b"crash"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may use: seconds of computing, and bytes of memory beyond what the modules take."""

    seconds: int
    memory: int


def main(arguments: list[str]) -> None:
    """Fork a keeper for each line, given as `source,sink`, and end when one of them does."""
    limits = Limits(int(arguments[0]), int(arguments[1]))
    lines = [tuple(map(int, line.split(","))) for line in arguments[2:]]
    os.nice(NICE)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    jobs.perform(jobs.request("render", ("{{ a | date: '%Y' }}", {"a": "2026-11-27"})))  # loads what is loaded late
    gc.freeze()
    for source, sink in lines:
        if os.fork() == 0:
            _end_with_parent()
            for line in lines:
                if line != (source, sink):
                    os.close(line[0])
                    os.close(line[1])
            _keep(source, sink, limits)
    for line in lines:
        os.close(line[0])
        os.close(line[1])
    os.wait()


def _end_with_parent() -> None:
    parent = os.getppid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent == 1 or os.getppid() != parent:
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _keep(source: int, sink: int, limits: Limits) -> NoReturn:
    """Take requests and answer each, until the engine or web process at the other end of the line has ended."""
    try:
        while True:
            frames.send(sink, _computed(frames.receive(source), source, limits))
    except frames.Broken:
        os._exit(0)
    finally:
        os._exit(1)


def _computed(request: bytes, source: int, limits: Limits) -> bytes:
    """Have a child do the job, and return its outcome or the word for its end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _compute(request, writer, limits)
    os.close(writer)
    outcome, is_late = _read(reader, source, time.monotonic() + WALL * limits.seconds)
    os.close(reader)
    if is_late:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if is_late or code == -signal.SIGXCPU:
        return TIME
    if code in (OUT_OF_MEMORY, -signal.SIGABRT, -signal.SIGKILL):
        return MEMORY
    return outcome if code == 0 else CRASH


def _read(reader: int, source: int, ends_at: float) -> tuple[bytes, bool]:
    """Return all that the child writes, and whether its time is over; raise Broken when nobody waits any more."""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(source, 0)  # only its end
    parts: list[bytes] = []
    while True:
        ready = dict(poll.poll(max(0.0, ends_at - time.monotonic()) * 1000))
        if source in ready:
            raise frames.Broken
        if reader not in ready:
            return b"", True
        part = os.read(reader, frames.CHUNK)
        if not part:
            return b"".join(parts), False
        parts.append(part)


def _compute(request: bytes, writer: int, limits: Limits) -> NoReturn:
    try:
        _end_with_parent()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (limits.seconds, limits.seconds + 1))
        if sys.platform == "linux":
            size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE") + limits.memory
            resource.setrlimit(resource.RLIMIT_AS, (size, size))
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
        outcome = memoryview(jobs.perform(request))
        while outcome:
            outcome = outcome[os.write(writer, outcome) :]
        os._exit(0)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except BaseException as error:
        # Without its message, which may hold what was computed over.
        place = traceback.extract_tb(error.__traceback__)[-1]
        os.write(2, f"compute child: {type(error).__name__} at {place.filename}:{place.lineno}\n".encode())
    finally:
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])

"""This machine and its processes: names that no other machine has, and the life of a process."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

ENGINE_FILES = 64  # that an engine needs for itself: connections to the database, its loop, a few calls of steps
PR_SET_PDEATHSIG = 1  # of prctl(2), from <linux/prctl.h>


@cache
def host_name() -> str:
    return socket.gethostname()


@cache
def boot_id() -> str:
    """Return the id of this start of the machine and of the PID namespace, or "" where the kernel has none.

    A pid means something only with both: after a restart, and in another container, the same pid is another process.
    """
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{start}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Return whether the process runs; a zombie, which has ended and whose parent has not waited for it, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True


def raise_file_limit() -> None:
    """Let this process, and those that it starts, open as many files as the system grants: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems name a limit that they do not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_files() -> None:
    """Raise OSError (EMFILE) if this process may open fewer than ENGINE_FILES more files."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(FileNotFoundError):  # only Linux lists them there
        if limit != resource.RLIM_INFINITY and limit - len(os.listdir("/proc/self/fd")) < ENGINE_FILES:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def die_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent ends; does nothing on other systems than Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)

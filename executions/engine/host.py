"""What tells one machine and its processes from another's."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from functools import cache
from pathlib import Path

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


@cache
def host_name() -> str:
    return socket.gethostname()


@cache
def boot_id() -> str:
    """Return what tells this start of the machine from another, so that a pid can be judged."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Return whether the process runs; one that has ended but was not yet waited for does not."""
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


def die_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when the one that forked it ends; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)

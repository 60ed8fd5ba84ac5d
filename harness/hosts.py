"""Machines of their own on this one: each has a network, host name, processes and mounts that the others do not see.

`separate()` first takes the calling process out of this machine's network, so that nothing here can disturb others and
the kernel removes everything with the last process. Root only.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import reduce
from operator import or_
from pathlib import Path

from harness.processes import children, stats, until

OUTSIDE = "10.99.0.1"  # this process, as the machines see it
NETWORK = "10.99.0.0/24"
BRIDGE = "outside"
NAMESPACES = ("--net", "--uts", "--ipc", "--pid", "--mount-proc")
ENTERED = ("CLONE_NEWNET", "CLONE_NEWUTS", "CLONE_NEWIPC", "CLONE_NEWPID", "CLONE_NEWNS")  # of Linux alone
WITH_ITS_MAKER = ("setpriv", "--pdeathsig", "KILL")  # the machine ends
# The first process of a machine: it waits for nobody, so the kernel removes each orphan that ends.
FIRST = "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True: signal.pause()"


class Missing(Exception):
    """No machines can be made here; the text names the reason."""


def check() -> None:
    """Raise Missing where this process may not make machines."""
    if sys.platform != "linux":
        raise Missing("machines of their own need Linux")
    if os.geteuid() != 0:
        raise Missing("machines of their own need root")
    if lacking := [name for name in ("ip", "unshare", "mount", "setpriv") if not shutil.which(name)]:
        raise Missing(f"machines of their own need the programs {', '.join(lacking)} (iproute2, util-linux)")
    cable = "ip link add name here type veth peer name there"
    trial = subprocess.run(["unshare", *NAMESPACES, "--fork", *cable.split()], capture_output=True, text=True)
    if trial.returncode:
        raise Missing(f"machines of their own are not allowed here: {trial.stderr.strip()}")


def separate() -> None:
    """Move this thread, and all that it starts from now on, to a network and mounts of its own, with a bridge."""
    if not separate_mounts():
        raise Missing("mounts of one's own are not allowed here")
    os.unshare(os.CLONE_NEWNET)
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{OUTSIDE}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


def separate_mounts() -> bool:
    """Give this thread, and all that it starts, mounts of its own; return whether that is allowed."""
    try:
        os.unshare(os.CLONE_NEWNS)
        run("mount", "--make-rprivate", "/")
    except (OSError, Missing):
        return False
    return True


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"{' '.join(command)}: {done.stderr.strip()}")


class Host:
    """One machine; `number` from 1 to 99 gives its address."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self.address = name, f"10.99.0.{100 + number}"
        self.host_name = ""
        self.cable = f"to-{name}"[:15]
        self.holder = subprocess.Popen(
            [*WITH_ITS_MAKER, "unshare", *NAMESPACES, "--fork", "--kill-child", sys.executable, "-c", FIRST],
            start_new_session=True,
        )
        self.first = until(lambda: children(self.holder.pid), what=f"the first process of {name}")[0]
        until(lambda: Path(f"/proc/{self.first}/cmdline").read_bytes().startswith(sys.executable.encode()),
              what=f"the namespaces of {name}")  # fmt: skip
        run("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", str(self.first))
        run("ip", "link", "set", self.cable, "master", BRIDGE, "up")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.rename(name)

    @property
    def id(self) -> int:
        """Return what tells this machine's processes from all others: the number of its PID namespace."""
        return Path(f"/proc/{self.first}/ns/pid").stat().st_ino

    def inside[T](self, what: Callable[[], T]) -> T:
        """Call the function in a thread that has moved to this machine; it may start processes, but no threads."""
        answers: list[T] = []
        errors: list[BaseException] = []

        def enter() -> None:
            try:
                os.unshare(os.CLONE_FS)
                with open_pidfd(self.first) as machine:
                    os.setns(machine, reduce(or_, (getattr(os, name) for name in ENTERED)))
                answers.append(what())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return answers[0]

    def run(self, *command: str) -> None:
        self.inside(lambda: run(*command))

    def rename(self, name: str) -> None:
        """Give the machine another host name, which its running processes need not notice."""
        self.inside(lambda: socket.sethostname(name))
        self.host_name = name

    # --- its processes, with the numbers that they have outside

    def processes(self) -> dict[int, int]:
        """Return the numbers outside of this machine's processes by their numbers inside, without its first one."""
        found = {}
        for stat in stats():
            with suppress(OSError):
                if Path(f"/proc/{stat.pid}/ns/pid").stat().st_ino == self.id and stat.pid != self.first:
                    found[inner(stat.pid)] = stat.pid
        return found

    def freeze(self) -> None:
        """Let the whole machine stand still, as a paused virtual machine does."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        """Signal until no process is left that was forked meanwhile."""
        reached: set[int] = set()
        while more := set(self.processes().values()) - reached:
            for pid in more:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            reached |= more

    # --- its network

    def cut(self) -> None:
        """Pull the cable: packets are lost without a word, both ways."""
        run("ip", "link", "set", self.cable, "down")

    def mend(self) -> None:
        run("ip", "link", "set", self.cable, "up")

    def end(self) -> None:
        """Kill all processes of the machine."""
        self.holder.kill()
        self.holder.wait(10)


@contextmanager
def open_pidfd(pid: int) -> Iterator[int]:
    found = os.pidfd_open(pid)
    try:
        yield found
    finally:
        os.close(found)


def inner(pid: int) -> int:
    """Return a process's number in its own PID namespace."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])

"""Web server and cluster as one service: `python -m agentos_site`.

The service loads the code of both once and forks twice. Together they take 161 MB instead of 205 (PSS, idle). Each
child leads a process group of its own. One SIGTERM or Ctrl-C asks both to end, and DRAIN_S later the service kills
whatever is left. When one child dies, the service ends the other one and exits with a code other than 0, so that a
supervisor starts both anew.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import NoReturn, Self

from agentos_site import port, private_files, web
from executions.engine.forks import ASK_FOR_THE_END, guard_forks

# Seconds from SIGTERM to SIGKILL: more than settings.ENGINE_DRAIN_S, because an engine then still gives back the
# executions that have not ended, and more than the cluster's own STOP_S.
DRAIN_S = 19.5
TICK_S = 0.1  # seconds between two looks at children and signals
STOPPED_BY_SIGNAL = 128  # plus the signal's number: the exit code, as of a shell

# The signals that asked for the end. Handlers only append here, and tick() raises: an exception raised in a handler
# could interrupt the start of a child and lose it.
received: list[int] = []


class Stop(Exception):
    """A signal asked for the end."""


def main() -> int:
    """Run the service until a signal comes; return 128 plus its number. A child's death raises SystemExit."""
    listen()
    private_files.keep_private()
    with Service() as service:
        try:
            service.watch()
        except Stop:
            return STOPPED_BY_SIGNAL + received[0]


def listen() -> None:
    """Note signals that ask for the end from now on, in place of dying of them."""
    for number in ASK_FOR_THE_END:
        signal.signal(number, lambda number, _: received.append(number))


def tick() -> None:
    """Sleep for a moment; raise Stop if a signal has asked for the end."""
    time.sleep(TICK_S)
    if received:
        raise Stop


class Service:
    """A context that starts web server and cluster, and on exit leaves no process of either behind."""

    def __init__(self) -> None:
        self.children: dict[str, ForkProcess] = {}

    def __enter__(self) -> Self:
        port.check()  # says before anything is loaded that the port is taken
        load()
        guard_forks(signal.SIGTERM)  # if the service itself is killed, its children still end in order
        self.start("web", web.serve)
        self.start("cluster", run_cluster)
        return self

    def start(self, name: str, serve: Callable[[], None]) -> None:
        """Fork a child that leads its own process group and runs `serve`."""
        child = get_context("fork").Process(target=lead_group, args=(name, serve), name=name)
        child.start()
        self.children[name] = child

    def watch(self) -> NoReturn:
        """Wait until a signal comes (raises Stop) or a child dies (raises SystemExit)."""
        while True:
            self.fail_if_dead()
            tick()

    def fail_if_dead(self) -> None:
        for name, child in self.children.items():
            if child.exitcode is not None:
                sys.exit(f"The {name} process ended unexpectedly (exit code {child.exitcode}). AgentOS stops.")

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + DRAIN_S
        for child in self.children.values():
            child.terminate()  # the leader only, which ends its workers in order
        for child in self.children.values():
            child.join(max(0, deadline - time.monotonic()))
        for child in self.children.values():
            with suppress(ProcessLookupError):
                os.killpg(child.pid or 0, signal.SIGKILL)
            child.join()


def load() -> None:
    """Load the code that both children need, without a thread or connection: neither would survive the fork."""
    web.prepare()
    import django

    import agentos_site.granian_server  # noqa: F401

    django.setup()
    from django.urls import get_resolver

    import executions.management.commands.qcluster  # noqa: F401

    get_resolver().url_patterns  # noqa: B018  (loads every page)
    gc.collect()
    gc.freeze()  # a collection in a child would write to the loaded objects, and so copy their memory


def lead_group(name: str, serve: Callable[[], None]) -> None:
    """Make this forked child the leader of a process group, and run `serve` in it."""
    os.setsid()
    with suppress(OSError):
        Path("/proc/self/comm").write_text(f"agentos-{name}")  # as `top` and `ps -o comm` show it
    serve()


def run_cluster() -> None:
    from django.core.management import call_command

    call_command("qcluster")

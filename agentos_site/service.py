"""Web server and cluster as one service: `python -m agentos_site`.

What both need is loaded once, then each is forked off: together they take 40 MB less than when each loads its own.
Both lead process groups of their own. One SIGTERM or Ctrl-C asks them to end, and what has not ended when the drain
is over is killed; when one of them dies, the other ends too and the exit code says so: a supervisor starts all anew.
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

from agentos_site import web

DRAIN_S = 19.5  # above settings.ENGINE_DRAIN_S: an engine gives back what it could not end
TICK_S = 0.1
STOPPED_BY_SIGNAL = 128
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

received: list[int] = []  # the signals that asked for the end; looked at where nothing can get lost


class Stop(Exception):
    """A signal asked for the end."""


def main() -> int:
    listen()
    with Service() as service:
        try:
            service.watch()
        except Stop:
            return STOPPED_BY_SIGNAL + received[0]


def listen() -> None:
    """Note from now on who asks for the end."""
    for number in SIGNALS:
        signal.signal(number, lambda number, _: received.append(number))


def tick() -> None:
    time.sleep(TICK_S)
    if received:
        raise Stop


class Service:
    """Starts web server and cluster on entry, and leaves nothing of either behind."""

    def __init__(self) -> None:
        self.children: dict[str, ForkProcess] = {}

    def __enter__(self) -> Self:
        load()
        self.start("web", web.serve)
        self.start("cluster", run_cluster)
        return self

    def start(self, name: str, serve: Callable[[], None]) -> None:
        child = get_context("fork").Process(target=lead, args=(name, serve), name=name)
        child.start()
        self.children[name] = child

    def watch(self) -> NoReturn:
        """Wait until a signal comes, or one of them dies for good."""
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
            child.terminate()  # the leader only: it ends its workers in order
        for child in self.children.values():
            child.join(max(0, deadline - time.monotonic()))
        for child in self.children.values():
            with suppress(ProcessLookupError):
                os.killpg(child.pid or 0, signal.SIGKILL)
            child.join()


def load() -> None:
    """Load what the children share. No thread, no connection: they would not survive the fork."""
    web.prepare()
    import django
    import granian.cli  # noqa: F401

    django.setup()
    from django.urls import get_resolver

    import executions.management.commands.qcluster  # noqa: F401

    get_resolver().url_patterns  # noqa: B018  (loads every page)
    gc.collect()
    gc.freeze()  # a collection in a child would write to all of it, and so copy it


def lead(name: str, serve: Callable[[], None]) -> None:
    """In the child: be a group of its own, and run one of the two."""
    from executions.engine.host import die_with_parent

    os.setsid()
    die_with_parent(signal.SIGTERM)  # should the service be killed, both end in order
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    with suppress(OSError):
        Path("/proc/self/comm").write_text(f"agentos-{name}")  # as `top` and `ps -o comm` show it
    serve()


def run_cluster() -> None:
    from django.core.management import call_command

    call_command("qcluster")

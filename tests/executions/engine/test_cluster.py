"""What the cluster's main process does, beyond what the tests of deaths can time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from executions.engine.cluster import Cluster
from harness.processes import until


@pytest.fixture
def main() -> Iterator[Cluster]:
    """Return a main process without its signals, which are this one's again afterwards."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield Cluster()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_stopping_does_not_wait_for_a_sentinel_that_was_killed(main: Cluster) -> None:
    """As when SIGTERM comes between the sentinel's end and the moment at which its parent has noted that."""
    fresh = multiprocessing.get_context("spawn")
    main.stop_event = fresh.Event()
    main.sentinel = fresh.Process(target=main.stop_event.wait)
    main.sentinel.start()
    until(lambda: main.stop_event._cond._sleeping_count.get_value(), what="the sentinel waits to be stopped")
    os.kill(main.sentinel.pid, signal.SIGKILL)
    os.waitpid(main.sentinel.pid, 0)  # so the process object cannot find out any more

    stopping = threading.Thread(target=main.stop, daemon=True)
    stopping.start()
    stopping.join(5)

    assert not stopping.is_alive()

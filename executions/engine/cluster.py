"""How django-q2's cluster carries the engines: a worker process exists, so an engine runs.

The sentinel starts a new worker within half a second of a death, whatever state its pipe is in; the worker's main
thread stays an ordinary django-q2 worker for housekeeping (executions/tasks.py).
"""

from __future__ import annotations

import gc
import logging
import multiprocessing.connection
import os
import select
import signal
import sys
import threading
import time
from multiprocessing.reduction import ForkingPickler
from typing import Any, NoReturn

import django_q.cluster
import django_q.queues
from django.conf import settings
from django.db import DatabaseError, connections
from django_q.signals import post_spawn

from executions.engine.engine import Engine
from executions.engine.host import die_with_parent, is_alive
from executions.tasks import make_schedules

logger = logging.getLogger(__name__)

STOP = "STOP"
STOP_S = settings.ENGINE_DRAIN_S + 3.5  # after SIGTERM; what has not ended by then is killed: below the service's own
HOUSEKEEPING_S = 3.0  # that a worker waits for its task once its engine has stopped
PUSHER_S = 2.0  # twice as long as it sleeps when there is nothing to do
ORPHAN_CHECK_S = 1.0
DATABASE_TURN_S = 0.001  # that the engine's database thread waits for a busy loop; Python's own 5 ms halve the rate
GARBAGE_AFTER = 20_000  # new objects; executions die without cycles, Python's 2,000 look at each while it lives

_engine: Engine | None = None
_main_pid = 0
_parent_pid = 0  # of what this process forks
_asked, _ask = os.pipe()  # all processes share it; there is something to read once the cluster is asked to stop


class SafeQueue(django_q.queues.Queue):  # type: ignore[misc]
    """A queue that survives kill -9 of a worker that waits for a task, and lets the engine stop before the worker ends.

    django-q2 waits inside the pipe's read lock; a worker killed there leaves it locked for good (django-q2 #23).
    """

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if not block or timeout is not None:
            return super().get(block, timeout)
        task = self._next()
        if task == STOP:
            stop_engine()
        return task

    def _next(self) -> Any:
        while True:
            multiprocessing.connection.wait([self._reader])  # without the lock
            if not self._rlock.acquire(timeout=1):
                continue
            try:
                if not self._reader.poll(0):
                    continue  # another worker was faster
                data = self._reader.recv_bytes()
                self._sem.release()
            finally:
                self._rlock.release()
            self.size.increment(-1)
            return ForkingPickler.loads(data)


class Cluster(django_q.cluster.Cluster):  # type: ignore[misc]
    """A main process that ends as failed when its sentinel was killed.

    django-q2's would end as if all were well, or wait for ever to tell a killed sentinel that it may stop.
    """

    def start(self) -> int:
        signal.signal(signal.SIGCHLD, lambda *_: self._fail_with_the_sentinel())  # interrupts every wait
        return int(super().start())

    def stop(self) -> bool:
        """Ask the sentinel to stop and wait for its end.

        This runs in a signal's handler, perhaps before the code below it has noted that the sentinel is dead, and
        `Event.set` waits for ever for a waiter that was killed: a thread waits in its place.
        """
        if not self.sentinel.is_alive():
            return False
        os.write(_ask, b"!")  # engines hear of it at once, whatever sentinel, pusher and tasks are busy with
        logger.info("cluster %s stops", self.name)
        threading.Thread(target=self.stop_event.set, name="stop", daemon=True).start()
        if not multiprocessing.connection.wait([self.sentinel.sentinel], STOP_S):
            end_the_cluster("the cluster did not stop in time and is killed")
        self.sentinel.join()
        self.start_event: Any = None  # so django-q2's start() sees that it is over
        self.stop_event: Any = None
        return True

    def wait(self) -> None:
        """Wait until the sentinel has ended as it was asked to."""
        self.sentinel.join()
        self._fail_with_the_sentinel()  # join may have taken the exit code before the signal was seen

    def _fail_with_the_sentinel(self) -> None:
        is_main = os.getpid() == self.pid  # its children inherit the signal's handler
        if is_main and self.sentinel is not None and self.sentinel.exitcode:
            end_the_cluster(f"the sentinel ended with exit code {self.sentinel.exitcode}")


class Sentinel(django_q.cluster.Sentinel):  # type: ignore[misc]
    """A sentinel that stops also while its pusher sleeps, which it does for 10 s after a database error."""

    def stop(self) -> None:
        self.event_out.set()
        self.pusher.join(PUSHER_S)
        self.pusher.kill()
        super().stop()


def install() -> None:
    """Make the cluster that this process starts next carry engines."""
    global _main_pid, _parent_pid
    _main_pid = _parent_pid = os.getpid()
    os.register_at_fork(after_in_child=tie_to_parent)
    django_q.cluster.Queue = SafeQueue
    django_q.cluster.Sentinel = Sentinel
    post_spawn.connect(start_engine, dispatch_uid="executions.engine.cluster")


def tie_to_parent() -> None:
    """Have the kernel kill this new process when the one that forked it ends: an orphaned pusher would eat tasks."""
    global _parent_pid
    die_with_parent(signal.SIGKILL)
    if os.getppid() != _parent_pid:
        os._exit(1)  # it was faster
    _parent_pid = os.getpid()


def schedule_housekeeping() -> None:
    """Make sure that housekeeping is scheduled; the cluster starts also while the database is away."""
    try:
        make_schedules()
    except DatabaseError:
        logger.exception("housekeeping could not be scheduled")
    finally:
        connections.close_all()  # nothing of it is for the processes that are forked next


def start_engine(**_: Any) -> None:
    """Start this worker's engine; an error must not kill the worker in a respawn loop."""
    global _engine
    try:
        connections.close_all()  # inherited by fork
        sys.setswitchinterval(DATABASE_TURN_S)
        gc.freeze()  # what the cluster has loaded stays, and stays shared
        gc.set_threshold(GARBAGE_AFTER, *gc.get_threshold()[1:])
        if is_asked_to_stop():
            return  # the sentinel has not heard of it yet
        _engine = Engine()
        _engine.start()
        threading.Thread(target=end_with_the_cluster, args=(os.getppid(),), name="guard", daemon=True).start()
    except Exception:
        logger.exception("the engine could not be started")


def stop_engine() -> None:
    if _engine is not None:
        _engine.stop(settings.ENGINE_DRAIN_S)


def is_asked_to_stop(within: float = 0) -> bool:
    return bool(select.select([_asked], [], [], within)[0])


def end_with_the_cluster(sentinel: int) -> None:
    """End the whole cluster when its main process or its sentinel is gone, where the kernel does not.

    When it is asked to stop, the engine does so at once, and housekeeping in the main thread is not waited for long:
    it may hang in a mail server, and what is left of it is done later.
    """
    while not is_asked_to_stop(within=ORPHAN_CHECK_S):
        if os.getppid() != sentinel or not is_alive(_main_pid):
            end_the_cluster("the cluster lost its main process or its sentinel")
    stop_engine()
    time.sleep(HOUSEKEEPING_S)
    os._exit(0)


def end_the_cluster(reason: str) -> NoReturn:
    """End all that is left of it at once, so that its supervisor sees a failure and starts it anew."""
    logger.error("%s: the cluster ends", reason)
    if os.getpgrp() == _main_pid:
        os.killpg(_main_pid, signal.SIGKILL)
    os._exit(1)

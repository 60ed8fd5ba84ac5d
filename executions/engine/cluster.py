"""django-q2's cluster with an engine in each worker process.

The sentinel starts a new worker, and so a new engine, within half a second of a death. The main thread of a worker
stays an ordinary django-q2 worker, for housekeeping (executions/tasks.py).
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
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, NoReturn

import django_q.cluster
import django_q.queues
from django.conf import settings
from django.db import DatabaseError, connections
from django_q.signals import post_spawn

from executions.engine.engine import Engine
from executions.engine.host import die_with_parent, is_alive
from executions.engine.memory import bound_arenas
from executions.engine.quarantine import Keeper, is_called_for
from executions.tasks import make_schedules

logger = logging.getLogger(__name__)

STOP = "STOP"  # the task by which django-q2 tells a worker to stop
# Seconds after SIGTERM in which the cluster must end before it is killed. Less than agentos_site.service.DRAIN_S, so
# that the cluster ends by itself before the service kills it.
STOP_S = settings.ENGINE_DRAIN_S + 3.5
HOUSEKEEPING_S = 3.0  # seconds that a worker waits for its housekeeping task once its engine has stopped
PUSHER_S = 2.0  # seconds to wait for the pusher's end: twice as long as it sleeps when there is nothing to do
KEEP_S = 0.2  # seconds between two looks of the main process whether a quarantine is called for
ORPHAN_CHECK_S = 1.0  # seconds between two looks whether the sentinel and the main process live
# Seconds after which Python takes the GIL from a busy loop and gives it to the engine's database thread. With Python's
# own 5 ms an engine runs half as many executions a second.
DATABASE_TURN_S = 0.001
# New objects after which Python looks for cyclic garbage. Executions leave no cycles, and with Python's own 2,000 the
# collector walks over each of them while it still runs.
GARBAGE_AFTER = 20_000

_engine: Engine | None = None
_main_pid = 0
_parent_pid = 0  # the pid that the processes forked from here must have as their parent
_stop_reader, _stop_writer = os.pipe()  # shared by all processes; holds a byte once the cluster is asked to stop


class SafeQueue(django_q.queues.Queue):  # type: ignore[misc]
    """A task queue that survives `kill -9` of a waiting worker, and stops the engine before its worker ends.

    django-q2 waits for a task while it holds the pipe's read lock. A worker killed there leaves the lock taken for
    good, and no worker gets a task any more (django-q2 #23). This queue takes the lock for the moment of reading only.
    """

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if not block or timeout is not None:
            return super().get(block, timeout)
        task = self._next()
        if task == STOP:
            stop_engine()
        return task

    def _next(self) -> Any:
        """Return the next task, however long it takes."""
        while True:
            multiprocessing.connection.wait([self._reader])  # waits without the lock
            if not self._rlock.acquire(timeout=1):
                continue
            try:
                if not self._reader.poll(0):
                    continue  # another worker has read the task
                data = self._reader.recv_bytes()
                self._sem.release()
            finally:
                self._rlock.release()
            self.size.increment(-1)
            return ForkingPickler.loads(data)


class Cluster(django_q.cluster.Cluster):  # type: ignore[misc]
    """The cluster's main process, which fails when its sentinel was killed, so that a supervisor starts it anew.

    django-q2's own would end with success, or wait for ever to tell the killed sentinel to stop.
    """

    def __init__(self) -> None:
        super().__init__()
        self.quarantine = Keeper(start_quarantine)

    def start(self) -> int:
        signal.signal(signal.SIGCHLD, lambda *_: self._fail_with_the_sentinel())  # the signal interrupts every wait
        return int(super().start())

    def stop(self) -> bool:
        """Ask the sentinel to stop and wait for its end; return False if it is dead already.

        This runs in a signal handler, perhaps before the interrupted code has noted that the sentinel is dead.
        `Event.set` waits for ever for a killed sentinel, so a thread of its own calls it.
        """
        if not self.sentinel.is_alive():
            return False
        os.write(_stop_writer, b"!")  # stops engines at once, even while sentinel, pusher or a task hang
        logger.info("cluster %s stops", self.name)
        threading.Thread(target=self.stop_event.set, name="stop", daemon=True).start()
        if not multiprocessing.connection.wait([self.sentinel.sentinel], STOP_S):
            end_the_cluster("the cluster did not stop in time and is killed")
        self.sentinel.join()
        self.quarantine.join(HOUSEKEEPING_S)
        self.start_event: Any = None  # tells django-q2's start() that the cluster has stopped
        self.stop_event: Any = None
        return True

    def wait(self) -> None:
        """Keep a quarantine until the sentinel has ended; end this process as failed if the sentinel was killed."""
        while not multiprocessing.connection.wait([self.sentinel.sentinel], KEEP_S):
            if not is_asked_to_stop():
                self.quarantine.look()
        self.sentinel.join()
        self._fail_with_the_sentinel()  # join may take the exit code before SIGCHLD is handled

    def _fail_with_the_sentinel(self) -> None:
        is_main = os.getpid() == self.pid  # children inherit this signal handler
        if is_main and self.sentinel is not None and self.sentinel.exitcode:
            end_the_cluster(f"the sentinel ended with exit code {self.sentinel.exitcode}")


class Sentinel(django_q.cluster.Sentinel):  # type: ignore[misc]
    """A sentinel that stops although its pusher sleeps, as it does for 10 s after a database error."""

    def stop(self) -> None:
        self.event_out.set()
        self.pusher.join(PUSHER_S)
        self.pusher.kill()
        super().stop()


def install() -> None:
    """Prepare this process, so that each worker of the cluster it starts next has an engine."""
    global _main_pid, _parent_pid
    _main_pid = _parent_pid = os.getpid()
    os.register_at_fork(after_in_child=die_if_orphaned)
    django_q.cluster.Queue = SafeQueue
    django_q.cluster.Sentinel = Sentinel
    post_spawn.connect(start_engine, dispatch_uid="executions.engine.cluster")


def die_if_orphaned() -> None:
    """Have the kernel kill this newly forked process when its parent ends.

    An orphaned pusher would take tasks out of the queue that no worker runs.
    """
    global _parent_pid
    die_with_parent(signal.SIGKILL)
    if os.getppid() != _parent_pid:
        os._exit(1)  # the parent ended before the kernel was asked
    _parent_pid = os.getpid()


def schedule_housekeeping() -> None:
    """Schedule housekeeping unless it is; the cluster starts even while the database is away."""
    try:
        make_schedules()
    except DatabaseError:
        logger.exception("housekeeping could not be scheduled")
    finally:
        connections.close_all()  # forked processes must not share a connection


def prepare_worker() -> None:
    """Fit this newly forked process to an engine."""
    connections.close_all()  # those inherited by the fork
    bound_arenas()
    sys.setswitchinterval(DATABASE_TURN_S)
    gc.freeze()  # no collection touches the loaded modules, so their memory stays shared between workers
    gc.set_threshold(GARBAGE_AFTER, *gc.get_threshold()[1:])


def start_engine(**_: Any) -> None:
    """Start this worker's engine.

    An error is logged only: a worker that it ended would be started and ended again and again.
    """
    global _engine
    try:
        prepare_worker()
        if is_asked_to_stop():
            return  # the sentinel started this worker before it heard of the stop
        _engine = Engine()
        _engine.start()
        threading.Thread(target=end_with_the_cluster, args=(os.getppid(),), name="guard", daemon=True).start()
    except Exception:
        logger.exception("the engine could not be started")


def start_quarantine() -> BaseProcess:
    """Start the process whose engine runs suspects only."""
    process = multiprocessing.get_context("fork").Process(target=run_quarantine, name="quarantine")
    process.start()
    return process


def run_quarantine() -> NoReturn:
    """Run an engine for suspects until nobody calls for it or the cluster stops."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the pipe tells it to stop
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    prepare_worker()
    engine = Engine(is_quarantine=True)
    engine.start()
    while not is_asked_to_stop(within=ORPHAN_CHECK_S):
        if os.getppid() != _main_pid:
            os._exit(1)
        if engine.is_idle and not is_called_for():
            break
    engine.stop(settings.ENGINE_DRAIN_S)
    os._exit(0)


def stop_engine() -> None:
    """Stop this worker's engine, if it has one, and wait for it."""
    if _engine is not None:
        _engine.stop(settings.ENGINE_DRAIN_S)


def is_asked_to_stop(within: float = 0) -> bool:
    """Return whether the cluster is asked to stop; wait for it for up to `within` seconds."""
    return bool(select.select([_stop_reader], [], [], within)[0])


def end_with_the_cluster(sentinel: int) -> None:
    """Watch, in a thread of each worker, for the end of the cluster.

    When the main process or the sentinel is gone, end the whole cluster, on systems where the kernel does not do it.
    When the cluster is asked to stop, stop the engine at once. The housekeeping task in the main thread gets
    HOUSEKEEPING_S and no more: it may hang in a mail server, and its next turn does the rest.
    """
    while not is_asked_to_stop(within=ORPHAN_CHECK_S):
        if os.getppid() != sentinel or not is_alive(_main_pid):
            end_the_cluster("the cluster lost its main process or its sentinel")
    stop_engine()
    time.sleep(HOUSEKEEPING_S)
    os._exit(0)


def end_the_cluster(reason: str) -> NoReturn:
    """Kill all processes of the cluster, so that its supervisor sees a failure and starts the cluster anew."""
    logger.error("%s: the cluster ends", reason)
    if os.getpgrp() == _main_pid:
        os.killpg(_main_pid, signal.SIGKILL)
    os._exit(1)

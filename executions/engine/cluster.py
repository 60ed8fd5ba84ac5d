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
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, NoReturn

import django_q.brokers.orm
import django_q.cluster
import django_q.pusher
import django_q.queues
from django.conf import settings
from django.db import DatabaseError, connections
from django_q.signals import post_spawn

from executions.engine.engine import Engine
from executions.engine.forks import guard_forks
from executions.engine.host import check_files, is_alive
from executions.engine.lifeline import vital
from executions.engine.memory import bound_arenas
from executions.engine.quarantine import Keeper, is_called_for
from executions.monitoring import trouble
from executions.tasks import make_schedules

logger = logging.getLogger(__name__)

STOP = "STOP"  # the task by which django-q2 tells a worker to stop
# Seconds after SIGTERM in which the cluster must end before it is killed. Less than agentos_site.service.DRAIN_S, so
# that the cluster ends by itself before the service kills it.
STOP_S = settings.ENGINE_DRAIN_S + 3.5
HOUSEKEEPING_S = 3.0  # seconds from then on that a housekeeping task has, longer while the engine drains
LAST_RESULT_S = 0.5  # seconds for a worker to end by itself, which threads that send e-mails would hold up
TICK_S = 0.05  # seconds of the pusher's rests once the cluster is asked to stop
PUSHER_S = 2.0  # seconds to wait for the pusher's end, which the database may hold up
KEEP_S = 0.2  # seconds between two looks of the main process whether a quarantine is called for
ORPHAN_CHECK_S = 1.0  # seconds between two looks whether the sentinel and the main process live
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # between two tries to start an engine; each is twice as long
# Seconds after which Python takes the GIL from a busy loop and gives it to the engine's database thread. With Python's
# own 5 ms an engine runs half as many executions a second.
DATABASE_TURN_S = 0.001
# New objects after which Python looks for cyclic garbage. Executions leave no cycles, and with Python's own 2,000 the
# collector walks over each of them while it still runs.
GARBAGE_AFTER = 20_000

_engine: Engine | None = None
_is_idle = threading.Event()  # the main thread of this worker has no housekeeping task any more
_main_pid = 0
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
            _is_idle.set()
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


class Asked:
    """The pipe that asks the cluster to stop, as django-q2's sentinel asks its event."""

    def is_set(self) -> bool:
        return is_asked_to_stop()

    def wait(self, seconds: float) -> bool:
        return is_asked_to_stop(within=seconds)


class Cluster(django_q.cluster.Cluster):  # type: ignore[misc]
    """The cluster's main process, which fails when its sentinel was killed, so that a supervisor starts it anew.

    Its signal handlers write to the pipe and do nothing else, so that one comes at no wrong moment, and none is lost:
    django-q2's own would look for a sentinel that has not begun, or wait for ever for one that was killed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.quarantine = Keeper(start_quarantine)

    def start(self) -> int:
        self.sentinel = get_context("fork").Process(
            target=Sentinel, args=(Asked(), threading.Event(), self.cluster_id, self.broker, self.timeout)
        )
        self.sentinel.start()
        return int(self.pid)

    def sig_handler(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        os.write(_stop_writer, b"!")  # stops engines at once, even while sentinel, pusher or a task hang

    def wait(self) -> None:
        """Keep a quarantine until the cluster has stopped; end as failed if a part of it was killed or hangs."""
        ended = self.sentinel.sentinel
        while not multiprocessing.connection.wait([ended, _stop_reader], KEEP_S):
            self.quarantine.look()
        if is_asked_to_stop():
            logger.info("cluster %s stops", self.name)
            deadline = time.monotonic() + STOP_S
            if not multiprocessing.connection.wait([ended], STOP_S):
                end_the_cluster("the cluster did not stop in time and is killed")
            self.quarantine.join(max(0.0, deadline - time.monotonic()))
        self.sentinel.join()
        if self.sentinel.exitcode:
            end_the_cluster(f"the sentinel ended with exit code {self.sentinel.exitcode}")


class Sentinel(django_q.cluster.Sentinel):  # type: ignore[misc]
    """A sentinel that does not begin once the cluster is asked to stop, and does not wait for a pusher that hangs."""

    def start(self) -> None:
        if not is_asked_to_stop():
            super().start()

    def stop(self) -> None:
        self.event_out.set()
        self.pusher.join(PUSHER_S)
        self.pusher.kill()
        super().stop()


def install() -> None:
    """Prepare this process, so that each worker of the cluster it starts next has an engine."""
    global _main_pid
    _main_pid = os.getpid()
    guard_forks()  # an orphaned pusher would take tasks out of the queue that no worker runs
    django_q.cluster.Queue = SafeQueue
    django_q.cluster.Sentinel = Sentinel
    django_q.brokers.orm.sleep = django_q.pusher.sleep = nap
    post_spawn.connect(start_worker, dispatch_uid="executions.engine.cluster")


def nap(seconds: float) -> None:
    """Sleep, in django-q2's pusher, until the time is over or the cluster is asked to stop; then for moments only."""
    if is_asked_to_stop():
        time.sleep(min(seconds, TICK_S))
    is_asked_to_stop(within=seconds)


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


def start_worker(**_: Any) -> None:
    """Prepare this worker's process and start the thread that lives with its engine."""
    prepare_worker()
    threading.Thread(target=vital(live_with_the_cluster), args=(os.getppid(),), name="guard", daemon=True).start()


def start_engine() -> bool:
    """Start this worker's engine; return whether it has one.

    An error is logged only: a worker that it ended would be started and ended again and again.
    """
    global _engine
    try:
        check_files()
        engine = Engine()
        engine.start()
    except Exception as error:
        logger.exception("the engine could not be started")
        trouble.note(trouble.sentence_of(error))
        return False
    _engine = engine
    return True


def start_quarantine() -> BaseProcess:
    """Start the process whose engine runs suspects only."""
    process = get_context("fork").Process(target=run_quarantine, name="quarantine")
    process.start()
    return process


def run_quarantine() -> NoReturn:
    """Run an engine for suspects until nobody calls for it or the cluster stops."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the pipe tells it to stop
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


def live_with_the_cluster(sentinel: int) -> None:
    """Start the engine, and end with the cluster, in a thread of each worker.

    An engine that cannot start, as while the disk is full, is tried again after growing pauses. When the main process
    or the sentinel is gone, end the whole cluster, on systems where the kernel does not do it. When the cluster is
    asked to stop, stop the engine at once. The housekeeping task in the main thread gets HOUSEKEEPING_S from then on
    and no more: it may hang in a mail server, and its next turn does the rest.
    """
    pause_s, next_try, within = FIRST_PAUSE_S, time.monotonic(), 0.0
    while not is_asked_to_stop(within):
        if _engine is None and time.monotonic() >= next_try:
            if start_engine():
                if pause_s > FIRST_PAUSE_S:
                    trouble.forget()
            else:
                next_try, pause_s = time.monotonic() + pause_s, min(LONGEST_PAUSE_S, 2 * pause_s)
        if os.getppid() != sentinel or not is_alive(_main_pid):
            end_the_cluster("the cluster lost its main process or its sentinel")
        within = ORPHAN_CHECK_S
    asked_at = time.monotonic()
    stop_engine()
    _is_idle.wait(max(0.0, asked_at + HOUSEKEEPING_S - time.monotonic()))
    time.sleep(LAST_RESULT_S)
    os._exit(0)


def end_the_cluster(reason: str) -> NoReturn:
    """Kill all processes of the cluster, so that its supervisor sees a failure and starts the cluster anew."""
    logger.error("%s: the cluster ends", reason)
    if os.getpgrp() == _main_pid:
        os.killpg(_main_pid, signal.SIGKILL)
    os._exit(1)

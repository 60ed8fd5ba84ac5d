"""The engine: one a worker process. An asyncio loop runs hundreds of executions, one thread talks to the database."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import threading
import uuid
from datetime import UTC, datetime, timedelta

import uvloop
from django.conf import settings

from automations.definition import Unreadable
from connectors.outbound.addresses import parse_allow
from connectors.outbound.client import Outbound
from executions.engine import black_box
from executions.engine.black_box import WATCH_EVERY_S, BlackBox
from executions.engine.claiming import Claimer, rank_of
from executions.engine.database_thread import DatabaseThread
from executions.engine.host import boot_id, host_name
from executions.engine.loop_share import LoopTurn
from executions.engine.recovery import Presence, recover
from executions.engine.slots import Slots
from executions.engine.work import Work
from executions.intake.due_schedules import DueSchedules
from executions.monitoring import histograms
from executions.ports.mail import DjangoMail
from executions.runner.context import Fenced
from executions.runner.runner import Runner
from executions.states import Status, StepStatus
from executions.store import store
from executions.store.rows import Claimed, Move, StepRecord
from executions.store.wake import wake_for_work
from projects.ids import new_id

logger = logging.getLogger(__name__)

BEAT_S = 2.0
ABANDONED_LIMIT = 8  # threads that nobody waits for any more
LOOK_S = 1.0  # after which a schedule that was made or changed meanwhile is seen
NEWER_AFTER_S = 10.0  # after which somebody looks again at what only a newer release can read
SHARDS = 16  # of the usage counters: engines do not wait for each other's rows


class Engine:
    """Claims, runs and finishes executions until it is stopped or loses its lease."""

    def __init__(self) -> None:
        self.id = new_id()
        self.slot_count: int = settings.ENGINE_SLOTS
        self.is_stopping = False
        self.must_restart = False
        self.black_box = BlackBox(self.id)
        self.presence = Presence()
        self.stopped = threading.Event()
        self.database = DatabaseThread(self.id, self.id.int % SHARDS, self._claimed_in_thread, self._lost_in_thread)
        self.wake = wake_for_work(self._woken_in_thread)
        self.schedules = DueSchedules()
        self.schedule_in = LOOK_S

    def start(self) -> None:
        """Start the engine in a daemon thread of this process."""
        threading.Thread(target=self._main, name="engine", daemon=True).start()

    def stop(self, timeout_s: float) -> None:
        """Stop claiming, wait for what runs to reach its end or a step boundary, give back the rest."""
        try:
            self.loop.call_soon_threadsafe(self._stop_claiming)
        except (AttributeError, RuntimeError):
            return
        self.stopped.wait(timeout_s + 5)

    # --- the loop's thread

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._run())
        except Exception:
            logger.exception("the engine failed")
            os._exit(1)  # the sentinel starts a new worker, peers recover what this one held
        finally:
            self.black_box.stop_watching()
            self.stopped.set()
        if self.must_restart:
            os._exit(1)

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.stop_requested = asyncio.Event()
        self.outbound = Outbound(parse_allow(settings.OUTBOUND_ALLOW))
        self.mail = DjangoMail()
        self.claimer = Claimer(self.slot_count, lambda: len(self.slots), lambda: self.slots.is_behind, self.database)
        self.slots = Slots(self.black_box, self._move_of, self.database.move, self.claimer.begun, self.claimer.freed)
        self.database.start()
        await self._in_database(self._register)
        self.wake.start()
        watch = asyncio.create_task(self._watch())
        beats = [asyncio.create_task(beat()) for beat in (self._beat, self._keep_schedules)]
        logger.info("engine %s runs, %s slots", self.id, self.slot_count)
        await self.stop_requested.wait()
        await self.slots.drain(settings.ENGINE_DRAIN_S - 2)
        for beat in beats:
            beat.cancel()
        self.database.call(histograms.save)
        await self._in_database(lambda: store().unregister(self.id))
        black_box.remove(self.id)
        await self.outbound.close()
        self.database.stop()
        self.wake.stop()
        await asyncio.to_thread(self.database.join, 5)
        watch.cancel()
        logger.info("engine %s stopped", self.id)

    def _stop_claiming(self) -> None:
        self.is_stopping = self.claimer.is_over = self.slots.is_over = True
        self.stop_requested.set()

    # --- claiming

    def _woken_in_thread(self, number: int | None) -> None:
        self._soon(self.claimer.rung, number)

    def _claimed_in_thread(self, works: list[Work]) -> None:
        self._soon(self._begin, works)

    def _lost_in_thread(self, execution_ids: list[uuid.UUID]) -> None:
        self._soon(self.slots.drop, execution_ids)

    def _soon(self, function: object, *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the engine has ended
            self.loop.call_soon_threadsafe(function, *arguments)  # type: ignore[arg-type]

    def _begin(self, works: list[Work]) -> None:
        self.slots.run(works)
        self.claimer.claimed(works)

    # --- schedules

    async def _keep_schedules(self) -> None:
        """Start what schedules are due, to the moment, however busy the engine is."""
        while True:
            await self._in_database(self._start_due)
            await asyncio.sleep(max(0.001, self.schedule_in))

    def _start_due(self) -> None:
        """In the database thread."""
        due_in = self.schedules.start_due()
        self.schedule_in = LOOK_S if due_in is None else min(LOOK_S, due_in)

    # --- running

    async def _move_of(self, work: Work, turn: LoopTurn) -> Move | None:
        """Return how the execution leaves Running, or None when it is no longer ours or the engine stops."""
        if isinstance(work.definition, Unreadable):
            return _unread(work)
        runner = Runner(
            work.execution,
            work.definition,
            variables=work.variables,
            journal=self,
            http=self.outbound,
            mail=self.mail.of(work.execution.organization_id),
            enter=turn.enter,
        )
        code, step = work.verdict
        if code:
            return runner.condemn(code, step)
        deadline = self.loop.time() + work.execution.time_limit_s - work.execution.ran_ms / 1000
        try:
            async with asyncio.timeout(None) as limit:
                turn.before_waiting = lambda: limit.reschedule(deadline)  # until then the watchdog bounds it
                return await runner.run()
        except TimeoutError:
            return runner.reject() if limit.expired() else self._crashed(work.execution)
        except Fenced:
            logger.info("execution %s no longer belongs to this engine", work.execution.id)
            return None
        except asyncio.CancelledError:
            if self.is_stopping:
                return None
            raise
        except Exception:
            return self._crashed(work.execution)

    def _crashed(self, execution: Claimed) -> Move:
        logger.exception("execution %s failed inside the engine", execution.id)
        return _failed(
            execution, "internal_error", "An unexpected error stopped the execution. The server's log has the details."
        )

    async def durable(self, execution: Claimed, records: list[StepRecord]) -> None:
        """Be the runner's journal."""
        committed: asyncio.Future[bool] = self.loop.create_future()
        self.database.record(records, lambda is_ours: self._soon(_resolve, committed, is_ours))
        if not await committed:
            raise Fenced
        if (execution.suspicion or execution.deaths) and any(
            record.status is not StepStatus.RUNNING for record in records
        ):
            execution.acquit()
            self.claimer.freed(execution.id)

    # --- the lease

    async def _in_database(self, function: object) -> None:
        done = asyncio.Event()

        def call() -> None:
            function()  # type: ignore[operator]
            self._soon(done.set)

        self.database.call(call)
        while not done.is_set():
            try:
                await asyncio.wait_for(done.wait(), 5)
            except TimeoutError:
                self.database.call(call)

    def _register(self) -> None:
        with store().transaction():
            store().register(self.id, host_name(), boot_id(), os.getpid())

    async def _beat(self) -> None:
        while True:
            self.database.call(self._renew)
            self.database.call(histograms.save_when_due)
            self.database.call(self._join_direct)
            await asyncio.sleep(BEAT_S)
            self.claimer.ask()
            if self.mail.abandoned >= ABANDONED_LIMIT:
                logger.error(
                    "%s threads wait for a mail server that does not answer: this worker restarts", self.mail.abandoned
                )
                self.must_restart = True
                self._stop_claiming()

    async def _watch(self) -> None:
        """Have this process ended when its loop stands still, whatever holds it."""
        while True:
            self.black_box.watch()
            await asyncio.sleep(WATCH_EVERY_S)

    def _renew(self) -> None:
        """In the database thread: renew the lease and recover what dead engines held."""
        with store().transaction():
            rss_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            after_s = store().beat(self.id, running=len(self.slots), rss_kb=rss_kb, is_stopping=self.is_stopping)
            if after_s is None:
                logger.error("engine %s has lost its lease: this worker ends", self.id)
                os._exit(1)
            peers = store().peers(self.id)
            self.claimer.rank = rank_of(self.id, boot_id(), peers)
            condemned = recover(self.id, peers, trusts_silence=self.presence.beaten(after_s))
            self._soon(self.claimer.suspects_may_wait, store().has_suspects())
        self.wake.rest_s = self.claimer.rank.patience_s
        if condemned:
            self._soon(self.slots.run, self.database.adopt(condemned))

    def _join_direct(self) -> None:
        """In the database thread: empty a line that is throttled no longer, part by part, with turns for others."""
        if line := store().unthrottled_line():
            with store().transaction():
                store().join_direct(*line)
            self.database.call(self._join_direct)


def _unread(work: Work) -> Move:
    """Leave to a newer release what only that can read, as while both run during a deployment."""
    execution = work.execution
    if work.definition is Unreadable.BROKEN or execution.is_suspect or work.verdict[0]:  # a suspect never waits
        return _failed(
            execution, "unreadable_version", "This release of AgentOS cannot read the version of the automation."
        )
    return Move(
        execution=execution,
        target=Status.PAUSED,
        reason_code="newer_release",
        reason="The execution waits for a newer release of AgentOS.",
        ran_ms=execution.ran_ms,
        resume_at=datetime.now(UTC) + timedelta(seconds=NEWER_AFTER_S),
    )


def _failed(execution: Claimed, code: str, reason: str) -> Move:
    return Move(execution=execution, target=Status.FAILED, reason_code=code, reason=reason, wakes_caller=True)


def _resolve(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)

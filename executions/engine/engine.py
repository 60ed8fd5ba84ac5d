"""The engine of a worker process: an asyncio loop that runs hundreds of executions, and one thread for the database.

The execution table is the queue. A django-q2 task for each execution would cost 7 ms of CPU and start 25 to 110 ms
late; an execution in here costs 0.15 to 0.2 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import uuid
from datetime import UTC, datetime

import uvloop
from django.conf import settings

from automations.definition import Unreadable
from executions.engine import black_box
from executions.engine.black_box import ARM_EVERY_S, BlackBox
from executions.engine.claiming import Claimer
from executions.engine.database_thread import DatabaseThread
from executions.engine.endings import failed, move_of_unreadable
from executions.engine.lease import Lease
from executions.engine.lifeline import keep
from executions.engine.loop_share import LoopTurn
from executions.engine.memory import FreedMemory
from executions.engine.outside import Outside
from executions.engine.slots import Slots
from executions.engine.work import Work
from executions.intake.due_schedules import DueSchedules
from executions.monitoring import histograms
from executions.runner.context import Fenced, Stalled
from executions.runner.runner import Runner
from executions.states import StepStatus
from executions.store import store
from executions.store.rows import Claim, Claimed, Move, StepRecord
from executions.store.wake import wake_for_work
from projects.ids import new_id

logger = logging.getLogger(__name__)

BEAT_S = 2.0  # seconds between two renewals of the lease, which is stale after 10 s (store.leases.STALE_AFTER_S)
LOOK_S = 1.0  # seconds between two looks for due schedules, at most: a new or changed schedule is seen within it
SHARDS = 16  # rows of each usage counter, so that engines seldom wait for each other's lock


class Engine:
    """Claims, runs and finishes executions until it is stopped or loses its lease."""

    def __init__(self) -> None:
        self.id = new_id()
        self.slot_count: int = settings.ENGINE_SLOTS
        self.is_stopping = False
        self.black_box = BlackBox(self.id)
        self.stopped = threading.Event()
        self.database = DatabaseThread(self.id, self.id.int % SHARDS, self._on_claimed, self._on_lost)
        self.wake = wake_for_work(self._on_wake)
        self.schedules = DueSchedules()
        self.memory = FreedMemory()
        self.schedule_in = LOOK_S

    def start(self) -> None:
        """Start the engine in a daemon thread of this process."""
        threading.Thread(target=self._main, name="engine", daemon=True).start()

    def stop(self, timeout_s: float) -> None:
        """Stop claiming, let running executions end for a while, give back the others, and wait for all of it.

        `timeout_s` is the drain (settings.ENGINE_DRAIN_S). Does nothing when the engine has not begun or has ended.
        """
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
            os._exit(1)  # the sentinel starts a new worker, and peers recover the executions of this one
        finally:
            self.black_box.disarm_watchdog()
            self.stopped.set()

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.stop_requested = asyncio.Event()
        self.outside = Outside()
        self.claimer = Claimer(
            self.slot_count,
            load=lambda: len(self.slots),
            has_waiting=lambda: self.slots.has_waiting,
            database=self.database,
            held=lambda: self.slots.held,
        )
        self.slots = Slots(
            self.black_box, self._run_execution, self._hand_over, self.claimer.note_begun, self.claimer.note_freed
        )
        self.lease = Lease(self.id, self.database, self.claimer, self.slots, self.wake, self._call_in_loop)
        self.database.start()
        await self._in_database(self.lease.begin)
        self.wake.start()
        watch = keep(self._keep_watchdog_armed())
        beats = [keep(beat()) for beat in (self._beat, self._keep_schedules)]
        logger.info("engine %s runs, %s slots", self.id, self.slot_count)
        await self.stop_requested.wait()
        await self.slots.drain(settings.ENGINE_DRAIN_S - 2)
        for beat in beats:
            beat.cancel()
        self.database.call(histograms.save)
        await self._in_database(lambda: store().unregister(self.id))
        black_box.remove(self.id)
        await self.outside.close()
        self.database.stop()
        self.wake.stop()
        await asyncio.to_thread(self.database.join, 5)
        watch.cancel()
        logger.info("engine %s stopped", self.id)

    def _stop_claiming(self) -> None:
        self.is_stopping = self.claimer.is_stopped = self.slots.is_stopped = True
        self.stop_requested.set()

    # --- claiming: callbacks that other threads call, passed on to the loop's thread

    def _on_wake(self, number: int | None) -> None:
        self._call_in_loop(self.claimer.on_wake, number)

    def _on_claimed(self, works: list[Work], claim: Claim) -> None:
        self._call_in_loop(self._run_claimed, works, claim)

    def _on_lost(self, execution_ids: list[uuid.UUID]) -> None:
        self._call_in_loop(self.slots.drop, execution_ids)

    def _call_in_loop(self, function: object, *arguments: object) -> None:
        """Call a function in the loop's thread, from any thread; do nothing once the engine has ended."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the engine has ended
            self.loop.call_soon_threadsafe(function, *arguments)  # type: ignore[arg-type]

    def _run_claimed(self, works: list[Work], claim: Claim) -> None:
        self.slots.run(works)
        self.claimer.note_claimed(works, claim)

    def _hand_over(self, moves: list[Move]) -> None:
        """Store moves with the next commit, and ask again when the first of those that pause is due."""
        self.database.move(moves)
        if resumes := [move.resume_at for move in moves if move.resume_at]:
            first = min(resumes)
            self.database.call(lambda: self._call_in_loop(self.claimer.ask_in, seconds_until(first)))

    # --- schedules

    async def _keep_schedules(self) -> None:
        """Start the executions of due schedules at their fire times, however busy the engine is."""
        while True:
            await self._in_database(self._start_due)
            await asyncio.sleep(max(0.001, self.schedule_in))

    def _start_due(self) -> None:
        """Start one round of due schedules, in the database thread, and set when the next round begins."""
        due_in = self.schedules.start_due()
        self.schedule_in = LOOK_S if due_in is None else min(LOOK_S, due_in)

    # --- running

    async def _run_execution(self, work: Work, turn: LoopTurn) -> Move | None:
        """Run one execution and return its move out of Running.

        None means that there is no move: the execution is no longer this engine's, or the engine stops.
        """
        if isinstance(work.definition, Unreadable):
            return move_of_unreadable(work)
        runner = Runner(
            work.execution,
            work.definition,
            variables=work.variables,
            journal=self,
            enter=turn.enter,
            **self.outside.ports_of(work.execution.organization_id),
        )
        turn.if_stalled = runner.stalled
        code, step = work.verdict
        if code:
            return runner.condemn(code, step)
        deadline = self.loop.time() + work.execution.time_limit_s - work.execution.ran_ms / 1000
        try:
            async with asyncio.timeout(None) as limit:
                # Most executions never wait and need no timer: until the first wait the watchdog is their limit.
                turn.before_waiting = lambda: limit.reschedule(deadline)
                return await runner.run()
        except TimeoutError as over:
            return runner.reject(over) if limit.expired() else self._crashed(work.execution)
        except Stalled:
            return runner.stalled()
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
        return failed(
            execution, "internal_error", "An unexpected error stopped the execution. The server's log has the details."
        )

    async def durable(self, execution: Claimed, records: list[StepRecord]) -> None:
        """Commit the records and return once they are durable; raise Fenced when another engine has the execution.

        This makes the engine the runner's Journal. The first durable step of a suspect also acquits it.
        """
        committed: asyncio.Future[bool] = self.loop.create_future()
        self.database.record(records, lambda is_ours: self._call_in_loop(_resolve, committed, is_ours))
        if not await committed:
            raise Fenced
        if (execution.suspicion or execution.deaths) and any(
            record.status is not StepStatus.RUNNING for record in records
        ):
            execution.acquit()
            self.claimer.note_freed(execution.id)

    # --- the lease

    async def _in_database(self, function: object) -> None:
        """Call a function in the database thread, again every 5 s until it has succeeded; it may run twice."""
        done = asyncio.Event()

        def call() -> None:
            function()  # type: ignore[operator]
            self._call_in_loop(done.set)

        self.database.call(call)
        while not done.is_set():
            try:
                await asyncio.wait_for(done.wait(), 5)
            except TimeoutError:
                self.database.call(call)

    async def _beat(self) -> None:
        """Renew the lease and do the regular work every BEAT_S seconds."""
        while True:
            self.database.call(self.lease.renew)
            self.database.call(self.database.read_requests_to_stop)
            self.database.call(histograms.save_when_due)
            self.database.call(self.lease.join_direct)
            self.database.call(self.memory.give_back)
            await asyncio.sleep(BEAT_S)
            self.claimer.ask()

    async def _keep_watchdog_armed(self) -> None:
        """Put off the watchdog as long as the loop is alive; when the loop stands still, it ends this process."""
        while True:
            self.black_box.arm_watchdog()
            await asyncio.sleep(ARM_EVERY_S)


def seconds_until(moment: datetime) -> float:
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _resolve(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)

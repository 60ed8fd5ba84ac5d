"""The engine of a worker process: an asyncio loop that runs hundreds of executions, and one thread for the database.

The execution table is the queue. A django-q2 task for each execution would cost 7 ms of CPU and start 25 to 110 ms
late; an execution in here costs 0.15 to 0.2 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import uvloop
from django.conf import settings

from executions.engine import black_box
from executions.engine.beats import BEAT_S, Beats
from executions.engine.black_box import ARM_EVERY_S, BlackBox
from executions.engine.claiming import Claimer
from executions.engine.database_thread import DatabaseThread
from executions.engine.lease import Lease
from executions.engine.lifeline import end_after, insist, keep, vital
from executions.engine.memory import FreedMemory
from executions.engine.outside import Outside
from executions.engine.quarantine import SuspectClaimer
from executions.engine.slots import Slots
from executions.engine.walks import Walks
from executions.engine.work import Work
from executions.intake.due_schedules import DueSchedules
from executions.monitoring import histograms
from executions.runner.context import Fenced
from executions.states import StepStatus
from executions.store import errors, store
from executions.store.rows import Claim, Claimed, Move, StepRecord
from executions.store.wake import wake_for_work
from projects import quiet
from projects.ids import new_id

logger = logging.getLogger(__name__)

LOOK_S = 1.0  # seconds between two looks for due schedules, at most: a new or changed schedule is seen within it
CLOSE_S = 1.0  # seconds for the ends of connections and look-ups, once everything is given back
SHARDS = 16  # rows of each usage counter, so that engines seldom wait for each other's lock


class Engine:
    """Claims, runs and finishes executions until it is stopped or loses its lease."""

    def __init__(self, *, is_quarantine: bool = False) -> None:
        self.id = new_id()
        self.is_quarantine = is_quarantine  # it runs suspects only
        self.slot_count: int = settings.ENGINE_SLOTS
        self.is_asked_to_stop = self.is_stopping = False
        self.black_box = BlackBox(self.id)
        self.stopped = threading.Event()
        self.database = DatabaseThread(self.id, self.id.int % SHARDS, self._on_claimed, self._on_lost)
        self.wake = wake_for_work(self._on_wake)
        self.schedules = DueSchedules()
        self.memory = FreedMemory(errors.forget_connection)  # libpq keeps room for the largest message of a connection
        self.schedule_in = LOOK_S

    def start(self) -> None:
        """Start the engine in a daemon thread of this process."""
        threading.Thread(target=self._main, name="engine", daemon=True).start()

    def stop(self, timeout_s: float) -> None:
        """Stop claiming, let running executions end for a while, give back the others, and wait for all of it.

        `timeout_s` is the drain (settings.ENGINE_DRAIN_S).
        """
        self.is_asked_to_stop = True
        with contextlib.suppress(AttributeError, RuntimeError):  # the loop has not begun or has ended
            self.loop.call_soon_threadsafe(self._stop_claiming)
        self.stopped.wait(timeout_s + 5)

    @property
    def is_idle(self) -> bool:
        """Return whether the engine runs nothing."""
        return not (hasattr(self, "slots") and len(self.slots))

    # --- the loop's thread

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._run())
        except BaseException as error:
            end_after(error, "the engine failed")
        finally:
            self.black_box.disarm_watchdog()
            self.stopped.set()

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.stop_requested = asyncio.Event()
        self.outside = Outside()
        self.claimer = self._claimer()
        walks = Walks(self.outside, self, self._call_in_loop, is_stopping=lambda: self.is_stopping)
        self.slots = Slots(
            self.black_box, walks.walk, self._hand_over, self.claimer.note_begun, self.claimer.note_freed
        )
        self.lease = Lease(
            self.id,
            self.database,
            self.claimer,
            self.slots,
            self.outside.http.memory,
            self.wake,
            self._call_in_loop,
            self.is_quarantine,
        )
        self.beats = Beats(self.lease.beat)
        watch = keep(self._keep_watchdog_armed())
        self.database.start()
        if self.is_asked_to_stop:
            self._stop_claiming()
        if await self._is_let_in() and await self._in_database(self.lease.begin, unless=self.stop_requested):
            await self._live()
        black_box.remove(self.id)
        logger.info("engine %s stopped", self.id)
        self.stopped.set()  # all is stored or given back: the process may end while the rest still goes on
        self.database.stop()
        self.wake.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self.outside.close()
        watch.cancel()

    async def _live(self) -> None:
        """Claim and run executions, until a stop is requested; then give back the rest."""
        self.wake.start()
        self.beats.start()
        tasks = [keep(task()) for task in (self._do_regular_work, self._keep_schedules)]
        logger.info("%s %s runs, %s slots", "quarantine" if self.is_quarantine else "engine", self.id, self.slot_count)
        await self.stop_requested.wait()
        await self.slots.drain(settings.ENGINE_DRAIN_S - 2)
        for task in tasks:
            task.cancel()
        self.beats.stop()
        self.database.call(histograms.save)
        await self._in_database(self._unregister)

    def _unregister(self) -> None:
        self.lease.is_over = True
        with store().transaction():
            store().unregister(self.id)

    def _claimer(self) -> Claimer | SuspectClaimer:
        if self.is_quarantine:
            return SuspectClaimer(self.slot_count, lambda: len(self.slots), self.database)
        return Claimer(
            self.slot_count,
            load=lambda: len(self.slots),
            has_waiting=lambda: self.slots.has_waiting,
            database=self.database,
            held=lambda: self.slots.held,
        )

    async def _is_let_in(self) -> bool:
        """Wait as long as the installation keeps quiet, and touch nothing; return False if a stop comes before."""
        told = ""
        while not self.stop_requested.is_set():
            await self._in_database(self.lease.look, unless=self.stop_requested)
            if not (why := quiet.reason()):
                return True
            if why != told:
                logger.warning("engine %s keeps quiet and does not begin: %s See `manage.py restored`.", self.id, why)
                told = why
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop_requested.wait(), quiet.LOOK_S)
        return False

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

    def _call_in_loop(self, function: Callable[..., None], *arguments: object) -> None:
        """Call a function in the loop's thread, from any thread; do nothing once the engine has ended."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the engine has ended
            self.loop.call_soon_threadsafe(vital(function), *arguments)

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

    # --- the runner's Journal

    async def durable(self, execution: Claimed, records: list[StepRecord]) -> None:
        """Commit the records and return once they are durable; raise Fenced when another engine has the execution.

        The first durable step of a suspect also acquits it.
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

    async def large_text(self, execution: Claimed, attempt: int, key: str) -> str:
        """Return a stored text that was not loaded with the claim; also for the runner."""
        read: asyncio.Future[str] = self.loop.create_future()
        await self._in_database(
            lambda: self._call_in_loop(_resolve, read, store().large_text(execution.id, attempt, key))
        )
        return await read

    # --- the lease

    async def _in_database(self, function: Callable[[], None], *, unless: asyncio.Event | None = None) -> bool:
        """Call a function in the database thread until it has succeeded; return False if it has not at `unless`."""
        return await insist(function, self.database.call, self._call_in_loop, unless)

    async def _do_regular_work(self) -> None:
        """Do the engine's part of the regular work, and claim, every BEAT_S seconds."""
        while True:
            self.database.call(self.lease.look_after_others)
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


def _resolve[Value](future: asyncio.Future[Value], value: Value) -> None:
    if not future.done():
        future.set_result(value)

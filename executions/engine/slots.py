"""The slots of an engine: the executions that it has claimed, running or about to begin. In the loop's thread."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any

from executions.engine.black_box import BlackBox
from executions.engine.lifeline import vital
from executions.engine.line import Line
from executions.engine.loop_share import TURN_S, FairShare, LoopTurn, traced
from executions.engine.stall_guard import StallGuard
from executions.engine.work import Work
from executions.store.rows import Claimed, Move


class Slots:
    """Runs each execution in a task of its own; `len()` is the number of slots that are taken.

    `run_execution` runs an execution and returns its move out of Running, or None when it is no longer this engine's.
    `hand_over` gets the moves of all executions that end in the same round of the loop, so that they share a commit.
    `on_begun` is called when all claimed executions have begun, `on_freed` with the id of each that leaves its slot.
    """

    def __init__(
        self,
        black_box: BlackBox,
        run_execution: Callable[[Work, LoopTurn], Coroutine[Any, Any, Move | None]],
        hand_over: Callable[[list[Move]], None],
        on_begun: Callable[[], None],
        on_freed: Callable[[uuid.UUID], None],
    ) -> None:
        self.black_box = black_box
        self.guard = StallGuard(black_box.arm_watchdog, black_box.end_stalled, self.hand_over_ended)
        self.guard.start()
        self.run_execution = run_execution
        self.hand_over = hand_over
        self.on_begun = on_begun
        self.on_freed = on_freed
        self.loop = asyncio.get_running_loop()
        self.share = FairShare()
        self.is_stopped = False  # nothing begins any more; the engine gives back the executions that wait
        self.held: Counter[uuid.UUID] = Counter()  # the slots of each organization that has some
        self._waiting = Line()
        self._tasks: dict[uuid.UUID, asyncio.Task[None]] = {}
        self._ended: deque[Move] = deque()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._tasks)

    @property
    def has_waiting(self) -> bool:
        """Return whether claimed executions have not begun."""
        return bool(self._waiting)

    def run(self, works: Iterable[Work]) -> None:
        """Begin the claimed executions, from the next round of the loop on."""
        if not self._waiting:
            self.loop.call_soon(self._begin)
        works = list(works)
        self.held.update(work.execution.organization_id for work in works)
        self._waiting.add(works)

    def drop(self, execution_ids: Iterable[uuid.UUID]) -> None:
        """Stop running executions that are no longer this engine's; whichever engine claims them next goes on."""
        lost = set(execution_ids)
        waiting = self._waiting.works()
        self._waiting = Line(work for work in waiting if work.execution.id not in lost)
        for work in waiting:
            if work.execution.id in lost:
                self._free(work.execution)  # it may be a suspect that has the quarantine to itself
        for execution_id in lost:
            if task := self._tasks.get(execution_id):
                task.cancel()

    async def drain(self, seconds: float) -> None:
        """Wait until all running executions have ended; cancel those that still run after so many seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds)
        for task in list(self._tasks.values()):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=2)  # seconds to clean up

    @vital
    def _begin(self) -> None:
        """Begin the waiting executions, and run each up to the point where it waits; most end without waiting.

        After TURN_S the rest goes on in the next round of the loop, so that beats, timers and answers get their turn.
        Eager starts in such turns, with the rarer garbage collection of cluster.py, empty a backlog at 6,645 instead of
        5,736 executions/s on SQLite (medians of six interleaved runs).
        """
        turn_ends = time.monotonic() + TURN_S
        while self._waiting and not self.is_stopped:
            if time.monotonic() > turn_ends:
                self.loop.call_soon(self._begin)
                return
            work = self._waiting.pop()
            task = asyncio.Task(self._execute(work), loop=self.loop, eager_start=True)
            if not task.done():
                self._tasks[work.execution.id] = task
        self.on_begun()

    async def _execute(self, work: Work) -> None:
        execution_id = work.execution.id
        turn = LoopTurn(self.black_box, self.guard, self.share, execution_id)
        try:
            move = await traced(self.run_execution(work, turn), turn)
            if move is not None:
                self._note_end(move)
        finally:
            # One that has never waited is not among the tasks; another task may be that of a later claim.
            if turn.has_waited and self._tasks.get(execution_id) is asyncio.current_task():
                del self._tasks[execution_id]
            self._free(work.execution)

    def _free(self, execution: Claimed) -> None:
        if left := self.held[execution.organization_id] - 1:
            self.held[execution.organization_id] = left
        else:
            del self.held[execution.organization_id]
        self.on_freed(execution.id)

    def _note_end(self, move: Move) -> None:
        self._ended.append(move)
        if len(self._ended) == 1:
            self.loop.call_soon(self.hand_over_ended)

    @vital
    def hand_over_ended(self) -> None:
        """Hand over the moves; the guard's thread calls this, too, when one execution holds up the loop."""
        moves = []
        with suppress(IndexError):  # the other thread has taken the last one
            while self._ended:
                moves.append(self._ended.popleft())
        if moves:
            self.hand_over(moves)

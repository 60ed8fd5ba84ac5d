"""What an engine has claimed: some of it runs, the rest is about to. In the loop's thread."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from executions.engine.black_box import BlackBox
from executions.engine.loop_share import TURN_S, FairShare, LoopTurn, traced
from executions.engine.work import Work
from executions.store.rows import Move


class Slots:
    """Runs each execution in a task of its own; its length is the number of slots that are taken.

    `move_of` runs one and returns how it leaves Running, or None when it is no longer ours; `hand_over` gets what all
    of them that end in one round of the loop made; `on_begun` hears when none waits any more, `on_freed` of each slot.
    """

    def __init__(
        self,
        black_box: BlackBox,
        move_of: Callable[[Work, LoopTurn], Coroutine[Any, Any, Move | None]],
        hand_over: Callable[[list[Move]], None],
        on_begun: Callable[[], None],
        on_freed: Callable[[uuid.UUID], None],
    ) -> None:
        self.black_box = black_box
        self.move_of = move_of
        self.hand_over = hand_over
        self.on_begun = on_begun
        self.on_freed = on_freed
        self.loop = asyncio.get_running_loop()
        self.share = FairShare()
        self.is_over = False  # nothing begins any more; what has not is given back with the rest
        self._waiting: deque[Work] = deque()
        self._tasks: dict[uuid.UUID, asyncio.Task[None]] = {}
        self._ended: list[Move] = []

    def __len__(self) -> int:
        return len(self._waiting) + len(self._tasks)

    @property
    def is_behind(self) -> bool:
        return bool(self._waiting)

    def run(self, works: Iterable[Work]) -> None:
        if not self._waiting:
            self.loop.call_soon(self._begin)
        self._waiting += works

    def drop(self, execution_ids: Iterable[uuid.UUID]) -> None:
        """Stop running what is no longer ours; somebody else goes on, or we do after the next claim."""
        lost = set(execution_ids)
        dropped = [work.execution.id for work in self._waiting if work.execution.id in lost]
        self._waiting = deque(work for work in self._waiting if work.execution.id not in lost)
        for execution_id in dropped:
            self.on_freed(execution_id)  # it may be the suspect that has the engine to itself
        for execution_id in lost:
            if task := self._tasks.get(execution_id):
                task.cancel()

    async def drain(self, seconds: float) -> None:
        """Let what runs come to its end; what has not by then ends at once, which takes it a moment."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds)
        for task in list(self._tasks.values()):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=2)

    def _begin(self) -> None:
        """Begin one after the other and run it up to where it waits, which most never do."""
        turn_ends = time.monotonic() + TURN_S
        while self._waiting and not self.is_over:
            if time.monotonic() > turn_ends:
                self.loop.call_soon(self._begin)
                return
            work = self._waiting.popleft()
            task = asyncio.Task(self._execute(work), loop=self.loop, eager_start=True)
            if not task.done():
                self._tasks[work.execution.id] = task
        self.on_begun()

    async def _execute(self, work: Work) -> None:
        execution_id = work.execution.id
        try:
            turn = LoopTurn(self.black_box, self.share, execution_id)
            move = await traced(self.move_of(work, turn), turn)
            if move is not None:
                self._end(move)
        finally:
            if self._tasks.get(execution_id) is asyncio.current_task():  # not the task of a later claim of the same
                del self._tasks[execution_id]
            self.on_freed(execution_id)

    def _end(self, move: Move) -> None:
        self._ended.append(move)
        if len(self._ended) == 1:
            self.loop.call_soon(self._hand_all_over)

    def _hand_all_over(self) -> None:
        moves, self._ended = self._ended, []
        self.hand_over(moves)

"""Sharing the event loop: executions take turns, and the black box names the one whose code runs."""

from __future__ import annotations

import asyncio
import inspect
import time
import types
import uuid
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from executions.engine.black_box import BlackBox, step_field
from executions.engine.stall_guard import StallGuard
from executions.runner.context import Stalled

TURN_S = 0.02  # seconds after which executions leave the loop for one round: to beats, timers, answers, new executions


class FairShare:
    """The TURN_S of one round of the loop, shared by all executions that go on after a wait.

    Without it 500 calls answered at once, each before a step of 80 ms, held two loops for 20 s: both engines lost
    their leases, and the calls were repeated up to six times.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._ends_at: float | None = None  # monotonic time; None until the first execution of this round asks

    @property
    def is_used_up(self) -> bool:
        """Return whether this round's time is over; the first question of a round starts the clock."""
        now = time.monotonic()
        if self._ends_at is None:
            self._ends_at = now + TURN_S
            self.loop.call_soon(self._renew)
        return now >= self._ends_at

    def _renew(self) -> None:
        """Give the next round its time; the loop calls this at the start of that round."""
        self._ends_at = None


class LoopTurn:
    """One execution's turn of the loop, and the entry that the black box holds meanwhile."""

    __slots__ = ("before_waiting", "black_box", "execution_id", "guard", "has_waited", "if_stalled", "share", "step")

    def __init__(self, black_box: BlackBox, guard: StallGuard, share: FairShare, execution_id: uuid.UUID) -> None:
        self.black_box = black_box
        self.guard = guard
        self.share = share
        self.execution_id = execution_id.bytes
        self.step = step_field("")
        self.has_waited = False
        self.if_stalled: Callable[[], Any] | None = None  # returns the result in place of what a late stall has lost
        self.before_waiting: Callable[[], None] | None = None  # called before the first wait; most executions have none

    async def enter(self, key: str) -> None:
        """Wait until the execution may use the loop, and note which step's code runs from now on."""
        while self.has_waited and self.share.is_used_up:  # before its first wait it uses the turn in which it began
            await asyncio.sleep(0)
        self.step = step_field(key)
        self.black_box.note_step(self.step)

    def begin(self) -> None:
        """Name this execution in the black box: its code runs from now on."""
        self.black_box.note_execution(self.execution_id, self.step)
        self.guard.begin()

    def end(self) -> None:
        """Note that none of this execution's code runs any more."""
        self.guard.end()
        self.black_box.clear()


@types.coroutine
def traced[T](coroutine: Coroutine[Any, Any, T], turn: LoopTurn) -> Generator[Any, Any, T]:
    """Run a coroutine; while a piece of its code runs, between two waits, the black box names its execution.

    A stall that strikes when the piece has just ended has lost what the coroutine waits for, or returned: then it is
    raised in the coroutine where that waits, or `turn.if_stalled` gives the result.
    """
    value: Any = None
    error: BaseException | None = None
    while True:
        turn.begin()
        try:
            waits_for = coroutine.send(value) if error is None else coroutine.throw(error)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        except Stalled as stalled:
            if not inspect.iscoroutine(coroutine) or coroutine.cr_frame is None:
                if turn.if_stalled is None:
                    raise
                return turn.if_stalled()  # type: ignore[no-any-return]
            value, error = None, stalled.with_traceback(None)
            continue
        finally:
            try:
                turn.end()
            except Stalled:  # too late: the piece has ended by itself
                turn.end()
        value = error = None
        if not turn.has_waited:
            turn.has_waited = True
            if turn.before_waiting is not None:
                turn.before_waiting()
        try:
            value = yield waits_for
        except BaseException as thrown:
            error = thrown

"""One execution's hold on the engine's loop: who has it is named, and it is shared with all else that wants it."""

from __future__ import annotations

import asyncio
import time
import types
import uuid
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from executions.engine.black_box import BlackBox

TURN_S = 0.02  # after which executions leave the loop to others for a moment: beats, timers, answers, what begins


class FairShare:
    """What executions that go on after waiting get of one round of the loop, together."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._ends_at: float | None = None  # unknown until the first of this round asks

    @property
    def is_used_up(self) -> bool:
        now = time.monotonic()
        if self._ends_at is None:
            self._ends_at = now + TURN_S
            self.loop.call_soon(self._renew)
        return now >= self._ends_at

    def _renew(self) -> None:
        """In the next round."""
        self._ends_at = None


class LoopTurn:
    """One execution's hold on the loop."""

    __slots__ = ("before_waiting", "black_box", "execution_id", "has_waited", "share", "step")

    def __init__(self, black_box: BlackBox, share: FairShare, execution_id: uuid.UUID) -> None:
        self.black_box = black_box
        self.share = share
        self.execution_id = execution_id.bytes
        self.step = b""
        self.has_waited = False
        self.before_waiting: Callable[[], None] | None = None  # called once; most executions never wait

    async def enter(self, key: str) -> None:
        """Wait for the execution's turn, and say which step's code runs from now on."""
        while self.has_waited and self.share.is_used_up:  # until it waits, it has the turn in which it began
            await asyncio.sleep(0)
        self.step = key.encode()
        self.black_box.step(self.step)

    def take(self) -> None:
        self.black_box.hold(self.execution_id, self.step)


@types.coroutine
def traced[T](coroutine: Coroutine[Any, Any, T], turn: LoopTurn) -> Generator[Any, Any, T]:
    """Run a coroutine, with the black_box naming its execution during each piece of its code that the loop runs."""
    value: Any = None
    error: BaseException | None = None
    while True:
        turn.take()
        try:
            waits_for = coroutine.send(value) if error is None else coroutine.throw(error)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            turn.black_box.let_go()
        value = error = None
        if not turn.has_waited:
            turn.has_waited = True
            if turn.before_waiting is not None:
                turn.before_waiting()
        try:
            value = yield waits_for
        except BaseException as thrown:
            error = thrown

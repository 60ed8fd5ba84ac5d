"""What an engine lives by: parts that end the worker when they fail, and say why, and calls that must succeed."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import NoReturn

logger = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0  # between two tries of what must succeed; each is twice as long


def keep(coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
    """Run it as a task; an engine that has silently lost its beat would lose its lease without a word."""
    task = asyncio.get_running_loop().create_task(coroutine)
    task.add_done_callback(_end_with)
    return task


def _end_with(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        end_after(error, "a task of the engine failed")


def vital[**P](function: Callable[P, None]) -> Callable[P, None]:
    """Make a callback or a thread of the engine end the worker when it fails, instead of ending by itself.

    A claim whose answer is lost that way would be the engine's last one.
    """

    @wraps(function)
    def called(*arguments: P.args, **named: P.kwargs) -> None:
        try:
            function(*arguments, **named)
        except Exception as error:
            end_after(error, f"{function.__qualname__} failed")

    return called


def end_after(error: BaseException, what: str) -> NoReturn:
    """End this process; the sentinel starts a new worker, and peers recover the executions of this one."""
    logger.critical("%s, so this worker ends", what, exc_info=error)
    os._exit(1)


def end_without_lease(engine_id: uuid.UUID) -> NoReturn:
    """End this process: its executions belong to others by now, and the sentinel starts a new worker."""
    logger.error("engine %s has lost its lease: this worker ends", engine_id)
    os._exit(1)


async def insist(
    function: Callable[[], None],
    call: Callable[[Callable[[], None]], None],
    call_in_loop: Callable[..., None],
    unless: asyncio.Event | None = None,
) -> bool:
    """Have `call` call a function in another thread, again after growing pauses until it has succeeded.

    Return False if it has not when `unless` is set.
    """
    pause_s = FIRST_PAUSE_S
    while not (is_done := await _tried(function, call, call_in_loop, unless)):
        if unless and unless.is_set():
            break
        await asyncio.sleep(pause_s)
        pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
    return is_done


async def _tried(
    function: Callable[[], None],
    call: Callable[[Callable[[], None]], None],
    call_in_loop: Callable[..., None],
    unless: asyncio.Event | None,
) -> bool:
    over, done = asyncio.Event(), asyncio.Event()

    def once() -> None:
        try:
            function()
            call_in_loop(done.set)
        finally:
            call_in_loop(over.set)

    call(once)
    waits = [asyncio.create_task(event.wait()) for event in (over, unless) if event]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    return done.is_set()

"""A connector whose steps hurt their worker, loaded by EXTRA_CONNECTORS as an operator's own would be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial

from connectors.sdk.call import JSON, Action, Call, Connector
from connectors.sdk.fields import Input


async def die() -> None:
    os._exit(9)


async def die_in_a_thread() -> None:
    threading.Timer(0.3, os._exit, [9]).start()
    await asyncio.sleep(30)


async def match() -> None:
    """Hold the GIL for longer than anybody waits."""
    re.match(r"(a+)+$", "a" * 64 + "b")


async def loop(*, deaf_to: tuple[type[Exception], ...] = ()) -> None:
    while True:
        with contextlib.suppress(*deaf_to):
            time.monotonic()


async def sleep() -> None:
    time.sleep(60)  # not asyncio's: the loop waits


async def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


async def busy() -> None:
    ready = time.monotonic() + 0.08
    while time.monotonic() < ready:
        pass


async def cancelled() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


FAULTS: dict[str, Callable[[], Awaitable[None]]] = {
    "die": die, "die in a thread": die_in_a_thread, "regex": match, "loop": loop,
    "deaf loop": partial(loop, deaf_to=(Exception,)), "sleep": sleep, "stop": stop, "busy": busy,
    "cancelled": cancelled,
}  # fmt: skip


class FaultInput(Input):
    """`wait_s` seconds pass before the fault, one of FAULTS, without blocking the loop, so that neighbours run."""

    fault: str = "none"
    wait_s: float = 0.0


async def hurt(call: Call[FaultInput]) -> JSON:
    if call.input.wait_s:
        await asyncio.sleep(call.input.wait_s)
    if fault := FAULTS.get(call.input.fault):
        await fault()
    return None


CONNECTOR = Connector(
    key="faulty",
    title="Faulty",
    icon="plug",
    summary="Hurts its worker.",
    actions=(Action(key="hurt", title="Hurt", summary="Hurts its worker.", input=FaultInput, run=hurt, sample=None),),
)

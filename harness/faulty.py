"""A connector whose steps hurt their worker, loaded by EXTRA_CONNECTORS as an operator's own would be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
import time
from typing import Literal

from connectors.sdk.call import JSON, Action, Call, Connector
from connectors.sdk.fields import Input


class FaultInput(Input):
    """`wait_s` seconds pass before the fault without blocking the loop, so that neighbours run."""

    fault: Literal["die", "die in a thread", "regex", "loop", "deaf loop", "busy", "cancelled", "none"] | str = "none"
    wait_s: float = 0.0


async def hurt(call: Call[FaultInput]) -> JSON:
    if call.input.wait_s:
        await asyncio.sleep(call.input.wait_s)
    match call.input.fault:
        case "die":
            os._exit(9)
        case "die in a thread":
            threading.Timer(0.3, os._exit, [9]).start()
            await asyncio.sleep(30)
        case "regex":
            re.match(r"(a+)+$", "a" * 64 + "b")  # holds the GIL for longer than anybody waits
        case "loop" | "deaf loop" as fault:
            deaf_to = (Exception,) if fault == "deaf loop" else ()
            while True:
                with contextlib.suppress(*deaf_to):
                    time.monotonic()
        case "cancelled":
            cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            cancelled.cancel()
            await cancelled
        case "busy":
            ready = time.monotonic() + 0.08
            while time.monotonic() < ready:
                pass
    return None


CONNECTOR = Connector(
    key="faulty",
    title="Faulty",
    icon="plug",
    summary="Hurts its worker.",
    actions=(Action(key="hurt", title="Hurt", summary="Hurts its worker.", input=FaultInput, run=hurt, sample=None),),
)

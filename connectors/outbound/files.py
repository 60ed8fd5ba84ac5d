"""Open files of this process, each connection being one: how many there may be, and what to do when there are none."""

from __future__ import annotations

import asyncio
import errno
import resource
from collections.abc import Awaitable, Callable

KEPT_FILES = 256  # open files that are no outbound connections: the database's, the doorbell's, logs, e-mails
USED_UP = (errno.EMFILE, errno.ENFILE)
PAUSE_S = 0.5  # seconds between two tries while they are used up


class UsedUp(Exception):
    """All files that this process, or this machine, may open are open: nothing was sent, and others may end soon."""


def connections(most: int) -> int:
    """Return how many outbound connections may be open at once: `most`, or as many as open files allow."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(2, min(most, soft - KEPT_FILES))


def are_used_up(error: OSError) -> bool:
    """Return whether an error came for want of an open file, which is no fault of the other side."""
    return error.errno in USED_UP


async def when_free[T](call: Callable[[], Awaitable[T]], limit: asyncio.Timeout) -> T:
    """Return the result of a call that raises UsedUp as long as there is no file; its waits put the limit off."""
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            return await call()
        except UsedUp:
            ends_at = limit.when()
            limit.reschedule(None)
            await asyncio.sleep(PAUSE_S)
            if ends_at is not None:
                limit.reschedule(ends_at + loop.time() - began)

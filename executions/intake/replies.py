"""The replies of Response steps: callers wait for them, and a commit that holds a reply wakes its callers."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from enum import Enum
from functools import cache
from itertools import batched

from executions.intake.fair_threads import FairThreads, Join, Stored, settle
from executions.store import store
from executions.store.rows import ReplyRow
from executions.store.wake import wake_for_replies

A_LOOK = 1000  # executions that one statement asks for
# After a look its thread rests for so many times what the look took: with thousands of callers a look takes long, and
# every commit asks for one.
REST = 3
LONGEST_REST_S = 0.25


class End(Enum):
    """Why a wait ended without a reply."""

    LATE = "late"
    GONE = "gone"  # the caller hung up
    STOPPING = "stopping"  # the web server ends


class Wait:
    """A caller's wait for the reply of an execution; many callers may wait for the same one."""

    __slots__ = ("execution_id", "future", "replies")

    def __init__(self, replies: Replies, execution_id: uuid.UUID) -> None:
        self.replies = replies
        self.execution_id = execution_id
        self.future: asyncio.Future[ReplyRow | End] = asyncio.get_running_loop().create_future()

    async def reply(self, limit_s: float) -> ReplyRow | End:
        """Return the reply, or why there is none."""
        timer = self.future.get_loop().call_later(limit_s, self.end, End.LATE)
        try:
            return await self.future
        finally:
            timer.cancel()
            self.give_up()

    def end(self, why: ReplyRow | End) -> None:
        if not self.future.done():
            self.future.set_result(why)

    def give_up(self) -> None:
        """End the wait: nobody will read the reply here."""
        self.replies.forget(self)


class Replies:
    """The waits of this process's callers; after each commit that may hold a reply a thread reads theirs."""

    def __init__(self) -> None:
        self._waits: dict[uuid.UUID, set[Wait]] = {}  # changed in the event loop only
        self._first_looks = FairThreads("reply-look-up", _look)
        self._wake = wake_for_replies(lambda number: self._look_for_all())
        self._wake.start()

    def expect(self, execution_id: uuid.UUID) -> Wait:
        """Begin to wait for a reply. Call it before the execution is stored, or the reply's commit may pass unseen."""
        wait = Wait(self, execution_id)
        self._waits.setdefault(execution_id, set()).add(wait)
        return wait

    async def expect_stored(self, execution_id: uuid.UUID, organization_id: uuid.UUID) -> Wait:
        """Begin to wait for the reply of an execution that is stored already, and may have its reply."""
        wait = self.expect(execution_id)
        try:
            reply = await self._first_looks.submit(execution_id, organization_id).result()
        except BaseException:
            wait.give_up()
            raise
        if reply is not None:
            wait.end(reply)
        return wait

    def forget(self, wait: Wait) -> None:
        waits = self._waits.get(wait.execution_id)
        if waits is not None:
            waits.discard(wait)
            if not waits:
                del self._waits[wait.execution_id]

    def end(self) -> None:
        """End all waits: the web server stops."""
        for waits in self._waits.values():
            for wait in waits:
                wait.end(End.STOPPING)  # the waits leave the set later, each in its caller's own turn

    def _look_for_all(self) -> None:
        """Read the replies that callers wait for and hand them over, all with one wake of the event loop."""
        began = time.monotonic()
        for some in batched(list(self._waits), A_LOOK):
            found = store().replies(some)
            waits = [(wait, reply) for id, reply in found.items() for wait in tuple(self._waits.get(id, ()))]
            settle((wait.future, reply) for wait, reply in waits)
        self._wake.rest_s = min(LONGEST_REST_S, REST * (time.monotonic() - began))


def _look(ids: Sequence[uuid.UUID], _join: Join[uuid.UUID]) -> list[Stored[ReplyRow | None]]:
    found = store().replies(set(ids))
    return [found.get(id) for id in ids]


@cache
def replies() -> Replies:
    """Return the process's one Replies, whose thread starts with the first use."""
    return Replies()

"""The replies of Response steps: callers wait for them, and a commit that holds a reply wakes its caller."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import Future
from functools import cache

from executions.store import store
from executions.store.rows import ReplyRow
from executions.store.wake import wake_for_replies


class Expected:
    """A caller's wait for the reply of an execution; it ends `limit_s` seconds after it began."""

    def __init__(self, replies: Replies, execution_id: uuid.UUID, limit_s: float) -> None:
        self.replies = replies
        self.execution_id = execution_id
        self.deadline = time.monotonic() + limit_s
        self.future: Future[ReplyRow] = Future()

    def wait(self) -> ReplyRow | None:
        """Return the reply, or None when the time is over."""
        try:
            return self.future.result(max(0.0, self.deadline - time.monotonic()))
        except TimeoutError:
            return None
        finally:
            self.give_up()

    def give_up(self) -> None:
        """End the wait: nobody will read the reply here."""
        self.replies.forget(self)


class Replies:
    """The waits of this process's callers; after each commit that may hold a reply it reads theirs."""

    def __init__(self) -> None:
        self._expected: dict[uuid.UUID, Expected] = {}
        self._mutex = threading.Lock()
        wake_for_replies(lambda number: self.look()).start()

    def expect(self, execution_id: uuid.UUID, limit_s: float) -> Expected:
        """Begin to wait for a reply. Call it before the execution is stored, or the reply's commit may pass unseen."""
        expected = Expected(self, execution_id, limit_s)
        with self._mutex:
            self._expected[execution_id] = expected
        return expected

    def forget(self, expected: Expected) -> None:
        with self._mutex:
            self._expected.pop(expected.execution_id, None)

    def look(self) -> None:
        """Read the replies that callers wait for and hand them over; the wake-up's thread calls it too."""
        with self._mutex:
            futures = {execution_id: expected.future for execution_id, expected in self._expected.items()}
        if not futures:
            return
        for execution_id, reply in store().replies(futures).items():
            if not futures[execution_id].done():  # another thread's look may have found it too
                futures[execution_id].set_result(reply)


@cache
def replies() -> Replies:
    """Return the process's one Replies, whose thread starts with the first use."""
    return Replies()

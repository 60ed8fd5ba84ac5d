"""The replies of Response steps: callers wait for them, and the commit that holds one wakes its caller."""

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
    """One caller's wait for the reply of an execution; it ends `limit_s` seconds after it began."""

    def __init__(self, replies: Replies, execution_id: uuid.UUID, limit_s: float) -> None:
        self.replies = replies
        self.execution_id = execution_id
        self.deadline = time.monotonic() + limit_s
        self.future: Future[ReplyRow] = Future()

    def wait(self) -> ReplyRow | None:
        """Return the reply, or None when the time is over first."""
        try:
            return self.future.result(max(0.0, self.deadline - time.monotonic()))
        except TimeoutError:
            return None
        finally:
            self.give_up()

    def give_up(self) -> None:
        self.replies.forget(self)


class Replies:
    """Reads, after each commit that may hold a reply, what callers wait for."""

    def __init__(self) -> None:
        self._expected: dict[uuid.UUID, Expected] = {}
        self._mutex = threading.Lock()
        wake_for_replies(lambda number: self.look()).start()

    def expect(self, execution_id: uuid.UUID, limit_s: float) -> Expected:
        """Begin to wait for a reply: before the execution is stored, or its commit may pass unseen."""
        expected = Expected(self, execution_id, limit_s)
        with self._mutex:
            self._expected[execution_id] = expected
        return expected

    def forget(self, expected: Expected) -> None:
        with self._mutex:
            self._expected.pop(expected.execution_id, None)

    def look(self) -> None:
        """Read the replies that callers wait for; also in the wake-up's thread."""
        with self._mutex:
            futures = {execution_id: expected.future for execution_id, expected in self._expected.items()}
        if not futures:
            return
        for execution_id, reply in store().replies(futures).items():
            if not futures[execution_id].done():
                futures[execution_id].set_result(reply)


@cache
def replies() -> Replies:
    return Replies()

"""Those who wait for a Response step, woken by the commit that holds it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache

from executions.store import store
from executions.store.rows import ReplyRow
from executions.store.wake import wake_for_replies


class Callers:
    """Those who wait for a Response step, woken by commits."""

    def __init__(self) -> None:
        self._waiting: dict[uuid.UUID, Future[ReplyRow]] = {}
        self._mutex = threading.Lock()
        wake_for_replies(lambda number: self.look()).start()

    def wait(self, execution_id: uuid.UUID, accept: Callable[[], object], limit_s: float) -> ReplyRow | None:
        """Accept the request and return its reply, or None when the limit passes first."""
        future: Future[ReplyRow] = Future()
        with self._mutex:
            self._waiting[execution_id] = future
        try:
            deadline = time.monotonic() + limit_s
            accept()
            return future.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return None
        finally:
            with self._mutex:
                self._waiting.pop(execution_id, None)

    def look(self) -> None:
        """In the wake-up's thread: read what has come for those who wait."""
        with self._mutex:
            waiting = dict(self._waiting)
        if not waiting:
            return
        for execution_id, reply in store().replies(waiting).items():
            if not waiting[execution_id].done():
                waiting[execution_id].set_result(reply)


@cache
def callers() -> Callers:
    return Callers()

"""One commit shared by all that arrive before its transaction has begun."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial

from executions.store.away import AWAY, forget_connection

logger = logging.getLogger(__name__)

BATCH = 200
LONGEST_WAIT_S = 10.0  # for a commit, before the sender is told to come again

type Stored[Result] = Result | Exception
type Join[Item] = Callable[[], Sequence[Item]]


class Unavailable(Exception):
    """The database did not take the request: nothing is stored, the sender should come again."""


class _Submission[Item, Result]:
    """One item on its way into the database; its sender sleeps on a lock that is opened once."""

    __slots__ = ("is_open", "item", "result")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.result: Stored[Result] = Unavailable()
        self.is_open = threading.Lock()
        self.is_open.acquire()

    def settle(self, result: Stored[Result]) -> None:
        self.result = result
        self.is_open.release()


class GroupCommit[Item, Result]:
    """Stores items from one thread.

    `write` does a batch in one transaction and returns a result for each. It gets the items and a function that gives
    those that arrived meanwhile, for once the transaction has begun: that may have meant waiting for other writers.
    """

    def __init__(self, name: str, write: Callable[[Sequence[Item], Join[Item]], Sequence[Stored[Result]]]) -> None:
        self.write = write
        self._submissions: list[_Submission[Item, Result]] = []
        self._has_submissions = threading.Condition()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, item: Item) -> Result:
        """Return the item's result once it is durable, or raise it; raise Unavailable when nothing was stored."""
        submission: _Submission[Item, Result] = _Submission(item)
        with self._has_submissions:
            self._submissions.append(submission)
            self._has_submissions.notify()
        if not submission.is_open.acquire(timeout=LONGEST_WAIT_S):
            self._withdraw(submission)
        if isinstance(submission.result, Exception):
            raise submission.result
        return submission.result

    def _withdraw(self, submission: _Submission[Item, Result]) -> None:
        """Take back what no commit has taken yet; of one that is under way only the result may be told."""
        with self._has_submissions:
            if submission in self._submissions:
                self._submissions.remove(submission)
                return
        submission.is_open.acquire()

    def _run(self) -> None:
        while True:
            batch: list[_Submission[Item, Result]] = []
            with self._has_submissions:
                while not self._submissions:
                    self._has_submissions.wait()
                self._join(batch)
            self._settle(batch, partial(self._join, batch))

    def _join(self, batch: list[_Submission[Item, Result]]) -> list[Item]:
        """Take what waits into the batch, as far as there is room, and return it."""
        with self._has_submissions:
            room = BATCH - len(batch)
            joining, self._submissions = self._submissions[:room], self._submissions[room:]
        batch += joining
        return [submission.item for submission in joining]

    def _settle(self, batch: list[_Submission[Item, Result]], join: Join[Item] = tuple) -> None:
        """Store a batch; when it cannot be, one by one, so that one bad item does not fail its neighbours."""
        results: Sequence[Stored[Result]]
        try:
            results = self.write([submission.item for submission in batch], join)
        except AWAY as error:
            logger.warning("no request can be accepted: %s", error)
            forget_connection()
            results = [Unavailable()] * len(batch)
        except Exception as error:
            if len(batch) > 1:
                for submission in batch:
                    self._settle([submission])
                return
            logger.exception("a request cannot be stored")
            results = [error]
        for submission, result in zip(batch, results, strict=True):
            submission.settle(result)

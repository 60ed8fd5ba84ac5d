"""Group commit: all items that arrive before a transaction has begun share its commit."""

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


class Submission[Item, Result]:
    """One item on its way into the database; its sender sleeps on a lock that is opened once."""

    __slots__ = ("group", "is_open", "item", "result")

    def __init__(self, group: GroupCommit[Item, Result], item: Item) -> None:
        self.group = group
        self.item = item
        self.result: Stored[Result] = Unavailable()
        self.is_open = threading.Lock()
        self.is_open.acquire()

    def wait(self) -> Result:
        """Return the item's result once it is durable, or raise it; raise Unavailable when nothing was stored."""
        if not self.is_open.acquire(timeout=LONGEST_WAIT_S) and not self.group.withdraw(self):
            self.is_open.acquire()  # its commit is under way: only that knows the result
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def settle(self, result: Stored[Result]) -> None:
        self.result = result
        self.is_open.release()


class GroupCommit[Item, Result]:
    """Stores items from one thread.

    `write` stores a batch in one transaction and returns a result for each item. It gets the items and a function that
    returns the items that arrived meanwhile, to be called once the transaction has begun: beginning it may have meant
    to wait for another writer.
    """

    def __init__(self, name: str, write: Callable[[Sequence[Item], Join[Item]], Sequence[Stored[Result]]]) -> None:
        self.write = write
        self._submissions: list[Submission[Item, Result]] = []
        self._has_submissions = threading.Condition()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, item: Item) -> Submission[Item, Result]:
        """Queue an item for the next commit; `wait()` on what is returned."""
        submission = Submission(self, item)
        with self._has_submissions:
            self._submissions.append(submission)
            self._has_submissions.notify()
        return submission

    def withdraw(self, submission: Submission[Item, Result]) -> bool:
        """Take back an item that no commit has taken yet; return False when one has."""
        with self._has_submissions:
            if submission not in self._submissions:
                return False
            self._submissions.remove(submission)
            return True

    def _run(self) -> None:
        while True:
            batch: list[Submission[Item, Result]] = []
            with self._has_submissions:
                while not self._submissions:
                    self._has_submissions.wait()
                self._join(batch)
            self._settle(batch, partial(self._join, batch))

    def _join(self, batch: list[Submission[Item, Result]]) -> list[Item]:
        """Take what waits into the batch, as far as there is room, and return it."""
        with self._has_submissions:
            room = BATCH - len(batch)
            joining, self._submissions = self._submissions[:room], self._submissions[room:]
        batch += joining
        return [submission.item for submission in joining]

    def _settle(self, batch: list[Submission[Item, Result]], join: Join[Item] = tuple) -> None:
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

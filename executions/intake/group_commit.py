"""Group commit: all items that arrive before a transaction has begun share its commit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial

from executions.store.away import AWAY, forget_connection

logger = logging.getLogger(__name__)

BATCH = 200  # items of one transaction at most
LONGEST_WAIT_S = 10.0  # seconds that a sender waits for a commit before it is told to send again

type Stored[Result] = Result | Exception
type Join[Item] = Callable[[], Sequence[Item]]  # returns the items that have arrived since


class Unavailable(Exception):
    """The database did not take the request: nothing is stored, and the sender should send it again."""


class Submission[Item, Result]:
    """An item on its way into the database; its sender sleeps on a lock, which is released once with the result."""

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
            self.is_open.acquire()  # a commit has taken the item: only its end tells the result
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def settle(self, result: Stored[Result]) -> None:
        self.result = result
        self.is_open.release()


class GroupCommit[Item, Result]:
    """Stores the items of many threads from one thread, many to a transaction.

    `write` stores a batch in one transaction and returns a result for each item. It gets the items and a function
    `join`, which it calls once the transaction has begun and which returns the items that have arrived meanwhile: to
    begin may have meant to wait for another writer.
    """

    def __init__(self, name: str, write: Callable[[Sequence[Item], Join[Item]], Sequence[Stored[Result]]]) -> None:
        self.write = write
        self._submissions: list[Submission[Item, Result]] = []
        self._has_submissions = threading.Condition()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, item: Item) -> Submission[Item, Result]:
        """Queue an item for the next commit; `wait()` on the submission returned."""
        submission = Submission(self, item)
        with self._has_submissions:
            self._submissions.append(submission)
            self._has_submissions.notify()
        return submission

    def withdraw(self, submission: Submission[Item, Result]) -> bool:
        """Take an item back; return False when a commit has taken it already."""
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
        """Move waiting submissions into the batch, as far as it has room; return their items."""
        with self._has_submissions:
            room = BATCH - len(batch)
            joining, self._submissions = self._submissions[:room], self._submissions[room:]
        batch += joining
        return [submission.item for submission in joining]

    def _settle(self, batch: list[Submission[Item, Result]], join: Join[Item] = tuple) -> None:
        """Store a batch, or else its items one by one, so that one bad item does not fail its neighbours."""
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

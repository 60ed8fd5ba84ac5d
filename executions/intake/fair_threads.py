"""Threads beside the event loop that do its blocking work, many items at once, and give every owner its turn.

Group commit is one of them (`acceptance.group_commit`): all items that arrive before a transaction has begun share its
commit.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial

from executions.intake.fair_queue import FairQueue
from executions.store import errors

logger = logging.getLogger(__name__)

BATCH = 200  # items of one batch, and so of one transaction, at most
LONGEST_WAIT_S = 10.0  # seconds that an item waits to be taken before its sender is told to send again

type Stored[Result] = Result | Exception
type Join[Item] = Callable[[], Sequence[Item]]  # returns the items that have arrived since


class Unavailable(Exception):
    """The item was not taken, or the database did not take it: nothing is stored, and the sender should send again."""

    def __init__(self, sentence: str = "The request has waited for too long.") -> None:
        super().__init__(sentence)


class Full(Exception):
    """The owner has as many items in line as it may have; nothing was done with this one."""


class Submission[Item, Result]:
    """An item on its way to a thread; its sender awaits the result in the event loop."""

    __slots__ = ("future", "group", "item", "owners")

    def __init__(self, group: FairThreads[Item, Result], item: Item, owners: tuple[Hashable, ...]) -> None:
        self.group = group
        self.item = item
        self.owners = owners
        self.future: asyncio.Future[Stored[Result]] = asyncio.get_running_loop().create_future()

    async def result(self) -> Result:
        """Return the item's result once it is durable, or raise it; raise Unavailable when nothing was stored.

        Whoever stops waiting takes the item back, unless a thread has it already.
        """
        timer = self.future.get_loop().call_later(LONGEST_WAIT_S, self.give_up)
        try:
            outcome = await self.future
        finally:
            timer.cancel()
            if not self.future.done() or self.future.cancelled():
                self.group.withdraw(self)
        if isinstance(outcome, Exception):
            try:
                raise outcome
            finally:
                del outcome  # else exception and frame would hold each other, and the item
        return outcome

    def give_up(self) -> None:
        """Stop waiting for a turn: the result is Unavailable, unless a thread has begun."""
        if self.group.withdraw(self):  # else a thread has taken the item: only its end tells the result
            settle([(self.future, Unavailable())])


class FairThreads[Item, Result]:
    """Does the work of an event loop's items in a few threads of its own.

    `work` gets a batch and returns a result for each item. Its second argument is a function `join`, which it may call
    once to add the items that have arrived meanwhile: to begin a transaction may have meant to wait for another writer.
    Owners take turns. An owner has at most `line` items waiting (the next one raises Full) and, as far as `at_once`
    says so, keeps no more threads busy than its share: the first number for an owner, the second for a part of it.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Item], Join[Item]], Sequence[Stored[Result]]],
        *,
        threads: int = 1,
        batch: int = BATCH,
        line: int = 0,
        at_once: tuple[int, ...] = (),
    ) -> None:
        self.name = name
        self.work = work
        self.threads = threads
        self.batch = batch
        self.line = line
        self.at_once = at_once
        self._queue: FairQueue[Submission[Item, Result]] = FairQueue()
        self._in_line: Counter[Hashable] = Counter()  # items that wait, by owner; counted only where `line` bounds them
        self._running: Counter[Hashable] = Counter()  # threads, by owner and part
        self._busy: set[Hashable] = set()  # owners and parts that have their share of the threads
        self._started = self._idle = 0
        self._has_items = threading.Condition()

    def submit(self, item: Item, *owners: Hashable) -> Submission[Item, Result]:
        """Queue an item for its owner, and for a part of the owner; await `result()` of the submission returned."""
        paths = owners if len(owners) == 1 else tuple(owners[: level + 1] for level in range(len(owners)))
        submission = Submission(self, item, paths)
        with self._has_items:
            if self.line:
                if self._in_line[paths[0]] >= self.line:
                    raise Full
                self._in_line[paths[0]] += 1
            self._queue.put(submission, *paths)
            if len(self._queue) > self._idle and self._started < self.threads:
                self._start()
            self._has_items.notify()
        return submission

    def withdraw(self, submission: Submission[Item, Result]) -> bool:
        """Take an item back; return False when a thread has taken it already."""
        with self._has_items:
            if not self._queue.remove(submission, *submission.owners):
                return False
            self._leave_line(submission)
            return True

    def _start(self) -> None:
        self._started += 1
        # A lone thread has the plain name, by which `executions.apps` tunes its connection.
        name = self.name if self.threads == 1 else f"{self.name}-{self._started}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        while True:
            batch: list[Submission[Item, Result]] = []
            with self._has_items:
                while not self._join(batch):
                    self._idle += 1
                    self._has_items.wait()
                    self._idle -= 1
                self._occupy(batch, 1)
            try:
                self._do(batch, partial(self._join, batch))
            except Exception as error:
                logger.exception("%s: the results of requests are lost", self.name)
                settle((submission.future, error) for submission in batch)
            finally:
                with self._has_items:
                    self._occupy(batch, -1)

    def _join(self, batch: list[Submission[Item, Result]]) -> list[Item]:
        """Move waiting submissions into the batch, as far as it has room; return their items."""
        joined: list[Item] = []
        with self._has_items:
            while len(batch) < self.batch and (submission := self._queue.take(self._busy)) is not None:
                self._leave_line(submission)
                batch.append(submission)
                joined.append(submission.item)
        return joined

    def _leave_line(self, submission: Submission[Item, Result]) -> None:
        if self.line:
            self._in_line[submission.owners[0]] -= 1
            if not self._in_line[submission.owners[0]]:
                del self._in_line[submission.owners[0]]

    def _occupy(self, batch: list[Submission[Item, Result]], change: int) -> None:
        """Count a thread for the owners of the item that it works at, or no longer."""
        for owner, share in zip(batch[0].owners, self.at_once, strict=False):
            self._running[owner] += change
            if self._running[owner] >= share:
                self._busy.add(owner)
            else:
                self._busy.discard(owner)
                self._has_items.notify()
            if not self._running[owner]:
                del self._running[owner]

    def _do(self, batch: list[Submission[Item, Result]], join: Join[Item] = tuple) -> None:
        """Work at a batch, or else at its items one by one, so that one bad item does not fail its neighbours."""
        results: Sequence[Stored[Result]]
        try:
            results = self.work([submission.item for submission in batch], join)
        except Exception as error:
            fault = errors.let_go(error)
            if fault.passes:
                logger.warning("%s: no request can be served: %s", self.name, errors.in_words(error))
                settle([(submission.future, Unavailable(fault.sentence)) for submission in batch])
                return
            if len(batch) > 1:
                for submission in batch:
                    self._do([submission])
                return
            logger.exception("%s: a request cannot be served", self.name)
            results = [error]
        settle((submission.future, result) for submission, result in zip(batch, results, strict=True))


def settle[Result](results: Iterable[tuple[asyncio.Future[Result], Result]]) -> None:
    """Give futures their results, from any thread, with one wake of their event loop for all of them."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Result], Result]]] = {}
    for future, result in results:
        by_loop.setdefault(future.get_loop(), []).append((future, result))
    for loop, settled in by_loop.items():
        try:
            loop.call_soon_threadsafe(_set, settled)
        except RuntimeError:  # the loop is closed: nobody waits any more
            logger.info("an event loop has ended before its results")


def _set[Result](settled: list[tuple[asyncio.Future[Result], Result]]) -> None:
    for future, result in settled:
        if not future.done():
            future.set_result(result)

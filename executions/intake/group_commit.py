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

type Outcome[Result] = Result | Exception
type Join[Item] = Callable[[], Sequence[Item]]


class Unavailable(Exception):
    """The database did not take the request: nothing is stored, the sender should come again."""


class _Slot[Item, Result]:
    """One item on its way into the database; its sender sleeps on a lock that is opened once."""

    __slots__ = ("is_open", "item", "outcome")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.outcome: Outcome[Result] = Unavailable()
        self.is_open = threading.Lock()
        self.is_open.acquire()

    def settle(self, outcome: Outcome[Result]) -> None:
        self.outcome = outcome
        self.is_open.release()


class GroupCommit[Item, Result]:
    """Stores items from one thread.

    `write` does a batch in one transaction and returns an outcome for each. It gets the items and a function that gives
    those that arrived meanwhile, for once the transaction has begun: that may have meant waiting for other writers.
    """

    def __init__(self, name: str, write: Callable[[Sequence[Item], Join[Item]], Sequence[Outcome[Result]]]) -> None:
        self.write = write
        self._slots: list[_Slot[Item, Result]] = []
        self._has_slots = threading.Condition()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, item: Item) -> Result:
        """Return the item's outcome once it is durable, or raise it; raise Unavailable when nothing was stored."""
        slot: _Slot[Item, Result] = _Slot(item)
        with self._has_slots:
            self._slots.append(slot)
            self._has_slots.notify()
        if not slot.is_open.acquire(timeout=LONGEST_WAIT_S):
            self._withdraw(slot)
        if isinstance(slot.outcome, Exception):
            raise slot.outcome
        return slot.outcome

    def _withdraw(self, slot: _Slot[Item, Result]) -> None:
        """Take back what no commit has taken yet; of one that is under way only the outcome may be told."""
        with self._has_slots:
            if slot in self._slots:
                self._slots.remove(slot)
                return
        slot.is_open.acquire()

    def _run(self) -> None:
        while True:
            batch: list[_Slot[Item, Result]] = []
            with self._has_slots:
                while not self._slots:
                    self._has_slots.wait()
                self._join(batch)
            self._settle(batch, partial(self._join, batch))

    def _join(self, batch: list[_Slot[Item, Result]]) -> list[Item]:
        """Take what waits into the batch, as far as there is room, and return it."""
        with self._has_slots:
            room = BATCH - len(batch)
            joining, self._slots = self._slots[:room], self._slots[room:]
        batch += joining
        return [slot.item for slot in joining]

    def _settle(self, batch: list[_Slot[Item, Result]], join: Join[Item] = tuple) -> None:
        """Store a batch; when it cannot be, one by one, so that one bad item does not fail its neighbours."""
        outcomes: Sequence[Outcome[Result]]
        try:
            outcomes = self.write([slot.item for slot in batch], join)
        except AWAY as error:
            logger.warning("nothing can be accepted: %s", error)
            forget_connection()
            outcomes = [Unavailable()] * len(batch)
        except Exception as error:
            if len(batch) > 1:
                for slot in batch:
                    self._settle([slot])
                return
            logger.exception("a request cannot be stored")
            outcomes = [error]
        for slot, outcome in zip(batch, outcomes, strict=True):
            slot.settle(outcome)

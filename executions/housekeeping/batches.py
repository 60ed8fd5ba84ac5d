"""Large removals in short transactions, so that no other writer waits long.

Each batch adapts its size to AIM_S, and a pause as long as the transaction took leaves the database to others.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from django.db import models, transaction

FEWEST, AT_FIRST, MOST = 5, 50, 1_000  # rows in a batch
AIM_S = 0.1  # seconds that a transaction should take: other writers wait for about as long
PAUSE_S = 0.01  # seconds of the shortest pause
FIRST = uuid.UUID(int=0)  # smaller than every id


class OutOfTime(Exception):
    """The time for this round of work is used up; the next round goes on with it."""


class Batches:
    """Does one round of work in batches, and raises OutOfTime once it has taken `seconds` (None: never)."""

    def __init__(self, seconds: float | None) -> None:
        self.deadline = None if seconds is None else time.monotonic() + seconds

    def remove_each(self, rows: models.QuerySet[Any], remove: Callable[[list[uuid.UUID]], object]) -> Iterator[int]:
        """Call `remove` with the ids of each batch of rows, oldest first; yield the number of ids.

        Rows that another transaction has locked are left out.
        """
        after = FIRST

        def work(limit: int) -> int:
            nonlocal after
            # From the last id on: from the start, each batch would walk over all the rows removed before it.
            free = rows.filter(pk__gt=after).order_by("pk").select_for_update(skip_locked=True)
            ids = list(free.values_list("pk", flat=True)[:limit])
            if ids:
                after = ids[-1]
                remove(ids)
            return len(ids)

        return self.repeat(work)

    def remove_wanted(
        self,
        rows: models.QuerySet[Any],
        wanted: models.Q,
        remove: Callable[[list[uuid.UUID]], object],
        after: uuid.UUID,
        until: uuid.UUID,
    ) -> Iterator[tuple[int, uuid.UUID]]:
        """Call `remove` with the ids of the wanted rows between two ids; yield their number and the last id looked at.

        Each transaction looks at one batch of rows, wanted or not, so it stays short however few are wanted.
        """
        done = 0

        def work(limit: int) -> int:
            nonlocal done, after
            ahead = rows.filter(pk__gt=after, pk__lt=until).order_by("pk")
            looked_at = list(ahead.values_list("pk", flat=True)[:limit])
            if looked_at:
                # Exactly one bound on each side: given two, SQLite may begin its index search at the farther one.
                found = rows.filter(wanted, pk__gt=after, pk__lte=looked_at[-1]).select_for_update(skip_locked=True)
                ids = list(found.values_list("pk", flat=True))
                done, after = len(ids), looked_at[-1]
                if ids:
                    remove(ids)
            return len(looked_at)

        for _ in self.repeat(work):
            yield done, after

    def delete_in_order(self, rows: models.QuerySet[Any], field: str) -> Iterator[int]:
        """Delete the rows in the order of a time field; yield the number of each batch."""

        def work(limit: int) -> int:
            moments = list(rows.order_by(field).values_list(field, flat=True)[:limit])
            return rows.filter(**{f"{field}__lte": moments[-1]}).delete()[0] if moments else 0

        return self.repeat(work)

    def repeat(self, work: Callable[[int], int]) -> Iterator[int]:
        """Call `work` with a batch size, each time in a transaction, until it returns 0; yield the other numbers.

        `work` returns the number of rows that it has handled.
        """
        size = AT_FIRST  # again for each kind of work: a thousand rows of one kind are quick, of another take seconds
        while True:
            with transaction.atomic():
                started = time.monotonic()  # in here, after the wait for SQLite's write lock
                done = work(size)
            lasted = time.monotonic() - started
            if not done:
                return
            yield done
            size = next_size(size, lasted)
            self.pause(lasted)

    def pause(self, lasted: float) -> None:
        """Leave the database to others for as long as the transaction took; raise OutOfTime if the time is used up."""
        self.check()
        time.sleep(max(PAUSE_S, lasted))

    def check(self) -> None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise OutOfTime


def next_size(size: int, lasted: float) -> int:
    """Return the batch size at which a transaction would take AIM_S; at most twice the size of the last batch."""
    return max(FEWEST, min(MOST, 2 * size, int(size * AIM_S / max(lasted, 0.001))))

"""Much work in short transactions: batches that find their own size, and a pause as long as each took."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from django.db import models, transaction

FEWEST, AT_FIRST, MOST = 5, 50, 1_000
AIM_S = 0.1  # of a transaction: nobody who wants to write waits for much longer
PAUSE_S = 0.01
FIRST = uuid.UUID(int=0)  # below every id


class OutOfTime(Exception):
    """The time for this work is used up; it goes on another time."""


class Batches:
    """The pace of one round of work, which ends with OutOfTime when its seconds are over (None: never)."""

    def __init__(self, seconds: float | None) -> None:
        self.deadline = None if seconds is None else time.monotonic() + seconds

    def each(self, rows: models.QuerySet[Any], remove: Callable[[list[uuid.UUID]], object]) -> Iterator[int]:
        """Call with the ids of the rows, oldest first, rows that somebody else has locked left out."""
        after = FIRST

        def work(limit: int) -> int:
            nonlocal after
            # After the last one, so that no batch walks again over what the ones before have removed.
            free = rows.filter(pk__gt=after).order_by("pk").select_for_update(skip_locked=True)
            ids = list(free.values_list("pk", flat=True)[:limit])
            if ids:
                after = ids[-1]
                remove(ids)
            return len(ids)

        return self.repeat(work)

    def walk(
        self,
        rows: models.QuerySet[Any],
        wanted: models.Q,
        remove: Callable[[list[uuid.UUID]], object],
        after: uuid.UUID,
        until: uuid.UUID,
    ) -> Iterator[tuple[int, uuid.UUID]]:
        """Do so with those that are wanted of the rows between two ids; yield how many, and the last one looked at.

        However few are wanted, no transaction looks at more than a batch of rows.
        """
        done = 0

        def work(limit: int) -> int:
            nonlocal done, after
            ahead = rows.filter(pk__gt=after, pk__lt=until).order_by("pk")
            looked_at = list(ahead.values_list("pk", flat=True)[:limit])
            if looked_at:
                # One bound above and one below: of more, SQLite's index may take the one that is further away.
                found = rows.filter(wanted, pk__gt=after, pk__lte=looked_at[-1]).select_for_update(skip_locked=True)
                ids = list(found.values_list("pk", flat=True))
                done, after = len(ids), looked_at[-1]
                if ids:
                    remove(ids)
            return len(looked_at)

        for _ in self.repeat(work):
            yield done, after

    def older(self, rows: models.QuerySet[Any], field: str) -> Iterator[int]:
        """Delete the rows in the order of a time."""

        def work(limit: int) -> int:
            moments = list(rows.order_by(field).values_list(field, flat=True)[:limit])
            return rows.filter(**{f"{field}__lte": moments[-1]}).delete()[0] if moments else 0

        return self.repeat(work)

    def repeat(self, work: Callable[[int], int]) -> Iterator[int]:
        """Do it in a transaction each until it finds nothing; yield how much each did."""
        size = AT_FIRST  # of each kind of work anew: a thousand of the one may be quick, and of the next take seconds
        while True:
            with transaction.atomic():
                started = time.monotonic()  # after the wait for SQLite's write lock
                done = work(size)
            lasted = time.monotonic() - started
            if not done:
                return
            yield done
            size = next_size(size, lasted)
            self.pause(lasted)

    def pause(self, lasted: float) -> None:
        """Leave the database to others for as long as it was used; raise OutOfTime where there is no time left."""
        self.check()
        time.sleep(max(PAUSE_S, lasted))

    def check(self) -> None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise OutOfTime


def next_size(size: int, lasted: float) -> int:
    """Return the size at which a transaction would take as long as it should: at most twice as many."""
    return max(FEWEST, min(MOST, 2 * size, int(size * AIM_S / max(lasted, 0.001))))

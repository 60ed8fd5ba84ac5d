"""Much work in short transactions: batches that find their own size, and a pause as long as each took."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from django.db import models, transaction

LARGEST, SMALLEST = 1_000, 20
SHORT_S, LONG_S = 0.05, 0.2  # a transaction outside of these makes the next one larger or smaller
PAUSE_S = 0.01
FIRST = uuid.UUID(int=0)  # below every id


class OutOfTime(Exception):
    """The time for this work is used up; it goes on another time."""


class Batches:
    """The pace of one round of work, which ends with OutOfTime when its seconds are over (None: never)."""

    def __init__(self, seconds: float | None) -> None:
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.size = LARGEST

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

    def older(self, rows: models.QuerySet[Any], field: str) -> Iterator[int]:
        """Delete the rows in the order of a time."""

        def work(limit: int) -> int:
            moments = list(rows.order_by(field).values_list(field, flat=True)[:limit])
            return rows.filter(**{f"{field}__lte": moments[-1]}).delete()[0] if moments else 0

        return self.repeat(work)

    def repeat(self, work: Callable[[int], int]) -> Iterator[int]:
        """Do it in a transaction each until it finds nothing; yield how much each did."""
        while True:
            started = time.monotonic()
            with transaction.atomic():
                done = work(self.size)
            if not done:
                return
            yield done
            self._pause(time.monotonic() - started)

    def _pause(self, lasted: float) -> None:
        if lasted > LONG_S:
            self.size = max(SMALLEST, self.size // 2)
        elif lasted < SHORT_S:
            self.size = min(LARGEST, self.size * 2)
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise OutOfTime
        time.sleep(max(PAUSE_S, lasted))

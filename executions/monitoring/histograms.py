"""Histograms for /metrics: each process counts in memory and adds its counts to a table every 10 s.

An observation adds to two numbers in a list, without a lock, because the interpreter does not switch threads within
such an addition. A killed process loses up to 10 s of observations; nothing but /metrics depends on them.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

from executions.store import measures
from executions.store.errors import forget_connection
from executions.store.measures import MeasureRow

logger = logging.getLogger(__name__)

SAVE_EVERY_S = 10.0
# Upper bounds of the buckets, in seconds.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
SIZE = len(BOUNDS) + 1  # the last bucket has no upper bound


class Histogram:
    """Observations by label: a list with the count of each bucket, followed by the sum of seconds of each bucket."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.observed: dict[str, list[float]] = {}
        self.saved: dict[str, list[float]] = {}

    def observe(self, label: str, seconds: float) -> None:
        try:
            numbers = self.observed[label]
        except KeyError:
            numbers = self.observed.setdefault(label, [0] * (2 * SIZE))
        bucket = bisect_left(BOUNDS, seconds)
        numbers[bucket] += 1
        numbers[bucket + SIZE] += seconds

    def save(self) -> None:
        """Add the observations since the last save to the table."""
        observed = {label: list(numbers) for label, numbers in list(self.observed.items())}
        rows = [row for label, numbers in observed.items() for row in self._rows(label, numbers)]
        if rows:
            measures.add(rows)
            self.saved = observed

    def _rows(self, label: str, numbers: list[float]) -> Iterator[MeasureRow]:
        before = self.saved.get(label, [0] * (2 * SIZE))
        new = [now - then for now, then in zip(numbers, before, strict=True)]
        for bucket in range(SIZE):
            if new[bucket]:
                yield self.name, label, bucket, int(new[bucket]), new[bucket + SIZE]


STEPS = Histogram("step_duration_seconds")  # labelled by connector
ACCEPTS = Histogram("accept_duration_seconds")  # of requests that started an execution

_saving = threading.Lock()
_saved_at = time.monotonic()
_saver: threading.Thread | None = None


def step_ended(connector: str, lasted: timedelta) -> None:
    STEPS.observe(connector, max(0.0, lasted.total_seconds()))


def accepted(started: float) -> None:
    """Observe an accepted request, which was read at `started` (time.perf_counter) and is durable now."""
    ACCEPTS.observe("", time.perf_counter() - started)
    if _saver is None:
        with suppress(RuntimeError):  # no thread can be started now: the request is accepted all the same
            _start_saver()


def save_when_due() -> None:
    if time.monotonic() - _saved_at >= SAVE_EVERY_S:
        save()


def save() -> None:
    """Add this process' observations since the last save to the table; after an error the next save adds them."""
    global _saved_at
    with _saving:
        _saved_at = time.monotonic()
        for histogram in (STEPS, ACCEPTS):
            histogram.save()


def _start_saver() -> None:
    """Start a thread that saves every SAVE_EVERY_S, in a web process; in an engine the beat saves."""
    global _saver
    with _saving:
        if _saver is None:
            _saver = threading.Thread(target=_save_forever, name="metrics", daemon=True)
            _saver.start()
            atexit.register(_save_at_the_end)


def _save_forever() -> None:
    while True:
        time.sleep(SAVE_EVERY_S)
        _save_and_close()


def _save_at_the_end() -> None:
    with suppress(Exception):  # the process ends: nobody could try again, and logging may be gone already
        save()


def _save_and_close() -> None:
    try:
        save()
    except Exception as error:
        logger.warning("measurements wait for the next time: %s", error)
    finally:
        forget_connection()

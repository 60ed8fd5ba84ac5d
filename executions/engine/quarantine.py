"""The quarantine: an engine of its own that runs suspects only, in a process that is there while some wait.

Whatever a suspect does there, it interrupts nobody else's work (docs/engine-deaths.md). The oldest engine calls for it
with each beat, and the cluster's main process starts it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawValue

from executions.engine.claiming import Rank
from executions.engine.database_thread import DatabaseThread
from executions.engine.lifeline import vital
from executions.engine.work import Work
from executions.store.rows import ALONE, Claim

# Seconds that suspects which began together have the quarantine to themselves at most: one that still runs then waits
# for something outside, and code that blocks or kills shows itself sooner. From ALONE on each further suspicion doubles
# it, so that one which kills late runs alone at last.
SOLITUDE_S = 5.0
CALLED_FOR_S = 10.0  # seconds after the last call in which the quarantine goes on; engines call every 2 s

_called_at = RawValue("d", 0.0)  # monotonic time of the last call, shared by all processes of the cluster


def call() -> None:
    """Note that suspects wait; the cluster's main process then starts the quarantine, unless it runs."""
    _called_at.value = time.monotonic()


def is_called_for() -> bool:
    return bool(_called_at.value) and time.monotonic() - _called_at.value < CALLED_FOR_S


class SuspectClaimer:
    """Asks for suspects, some that may begin together at a time. In the loop's thread, like the Claimer.

    It asks for the next ones when each of them has made a step durable or has left its slot, or after their solitude.
    """

    def __init__(self, slot_count: int, load: Callable[[], int], database: DatabaseThread) -> None:
        self.slot_count = slot_count
        self.load = load  # returns the number of slots that are taken
        self.database = database
        self.loop = asyncio.get_running_loop()
        self.rank = Rank()
        self.is_stopped = False
        self._is_asked = False  # a claim is under way
        self._company: set[uuid.UUID] = set()  # those that began together last and have shown nothing yet
        self._solitude: asyncio.Handle | None = None

    def ask(self) -> None:
        """Claim suspects, unless those before them still have the quarantine to themselves."""
        if not (self.is_stopped or self._is_asked or self._company) and self.load() < self.slot_count:
            self._is_asked = True
            self.database.claim_suspects()

    def note_claimed(self, works: Sequence[Work], _: Claim) -> None:
        self._is_asked = False
        if works:
            self._company = {work.execution.id for work in works}
            self._solitude = self.loop.call_later(solitude_s(works[0].execution.suspicion), self._end_solitude)

    def note_freed(self, execution_id: uuid.UUID) -> None:
        """Note that the execution has left its slot, or that it is a suspect no longer."""
        if execution_id in self._company:
            self._company.remove(execution_id)
            if not self._company:
                self._end_solitude()

    @vital
    def _end_solitude(self) -> None:
        if self._solitude:
            self._solitude.cancel()
        self._company = set()
        self.ask()

    def on_wake(self, _: int | None) -> None:
        self.ask()

    def ask_in(self, _: float) -> None:
        """Do nothing: an execution that pauses has made a step durable, and another engine goes on with it."""

    def note_begun(self) -> None:
        """Do nothing: what else may be claimed depends on solitude alone."""


def solitude_s(suspicion: int) -> float:
    return SOLITUDE_S * 2.0 ** max(0, suspicion - ALONE)


class Keeper:
    """Starts the quarantine's process when it is called for; in the cluster's main process."""

    def __init__(self, start: Callable[[], BaseProcess]) -> None:
        self._start = start  # starts the process and returns it
        self._process: BaseProcess | None = None
        self._started_at = 0.0

    def look(self) -> None:
        """Start a process if one is called for and none runs, at most one a second; call it at short intervals."""
        if self._process is not None and self._process.is_alive():
            return
        self._process = None
        if is_called_for() and time.monotonic() - self._started_at > 1:
            self._started_at = time.monotonic()
            self._process = self._start()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the process, which stops by itself when the cluster does."""
        if self._process is not None:
            self._process.join(timeout_s)

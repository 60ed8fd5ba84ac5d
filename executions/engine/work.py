"""What passes between the engine's loop and its database thread: claimed work one way, a batch of results the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from automations.definition import Definition, Unreadable
from executions.runner.context import Variables
from executions.store.rows import Claimed, Move, StepRecord


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed execution with all that its runner needs."""

    execution: Claimed
    definition: Definition | Unreadable
    variables: Variables
    verdict: tuple[str, str] = ("", "")  # code and step of one that has hurt its worker too often


@dataclass(slots=True)
class Batch:
    """What waits for the next commit."""

    records: list[tuple[StepRecord, ...]] = field(default_factory=list)
    waiting: list[Callable[[bool], None]] = field(default_factory=list)  # one a tuple of records
    moves: list[Move] = field(default_factory=list)
    claim: int = 0
    waited_s: float = 0.0  # that what is claimed has been due for
    claims_suspect: bool = False
    calls: list[Callable[[], None]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.records or self.moves or self.claim or self.claims_suspect or self.calls)

    def parts(self) -> Iterator[Batch]:
        """Yield it one execution's result at a time, and then the rest."""
        for group, when_durable in zip(self.records, self.waiting, strict=True):
            yield Batch(records=[group], waiting=[when_durable])
        for move in self.moves:
            yield Batch(moves=[move])
        if rest := replace(self, records=[], waiting=[], moves=[]):
            yield rest

"""The two messages between an engine's loop and its database thread: claimed work, and a batch of results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from automations.definition import Definition, Unreadable
from executions.runner.context import Variables
from executions.store.rows import Claimed, Move, StepRecord, Wanted


@dataclass(slots=True)
class Work:
    """A claimed execution with everything that its runner needs."""

    execution: Claimed
    definition: Definition | Unreadable
    variables: Variables
    verdict: tuple[str, str] = ("", "")  # reason code and step key, if the execution is to be rejected, not run


@dataclass(slots=True)
class Batch:
    """Everything that the next commit stores, claims or calls."""

    records: list[tuple[StepRecord, ...]] = field(default_factory=list)
    waiting: list[Callable[[bool], None]] = field(default_factory=list)  # one callback for each tuple of records
    moves: list[Move] = field(default_factory=list)
    claim: Wanted | None = None
    claims_suspects: bool = False
    calls: list[Callable[[], None]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.records or self.moves or self.claim or self.claims_suspects or self.calls)

    def parts(self) -> Iterator[Batch]:
        """Yield a batch for each execution's result, and then one for the claims and calls."""
        for group, when_durable in zip(self.records, self.waiting, strict=True):
            yield Batch(records=[group], waiting=[when_durable])
        for move in self.moves:
            yield Batch(moves=[move])
        if rest := replace(self, records=[], waiting=[], moves=[]):
            yield rest

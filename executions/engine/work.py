"""The two messages between an engine's loop and its database thread: claimed work, and a batch of results."""

from __future__ import annotations

import uuid
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

    def __add__(self, later: Batch) -> Batch:
        return Batch(
            records=self.records + later.records,
            waiting=self.waiting + later.waiting,
            moves=self.moves + later.moves,
            claim=later.claim or self.claim,
            claims_suspects=self.claims_suspects or later.claims_suspects,
            calls=self.calls + later.calls,
        )

    def execution_ids(self) -> set[uuid.UUID]:
        """Return the executions whose results it stores."""
        return {group[0].execution.id for group in self.records} | {move.execution.id for move in self.moves}

    def results(self, are_wanted: Callable[[uuid.UUID], bool]) -> Batch:
        """Return a batch with the results of some executions only."""
        pairs = zip(self.records, self.waiting, strict=True)
        kept = [(group, when_durable) for group, when_durable in pairs if are_wanted(group[0].execution.id)]
        return Batch(
            records=[group for group, _ in kept],
            waiting=[when_durable for _, when_durable in kept],
            moves=[move for move in self.moves if are_wanted(move.execution.id)],
        )

    def parts(self) -> Iterator[Batch]:
        """Yield a batch for each execution's result, and then one for the claims and calls."""
        for group, when_durable in zip(self.records, self.waiting, strict=True):
            yield Batch(records=[group], waiting=[when_durable])
        for move in self.moves:
            yield Batch(moves=[move])
        if rest := replace(self, records=[], waiting=[], moves=[]):
            yield rest

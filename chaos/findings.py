"""The checker's data: each execution as it ended, and the violations found."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from chaos import plan
from projects.ids import made_at

SHOWN = 20  # violations of one rule in the report

type Row = dict[str, Any]


@dataclass
class Findings:
    """The violations by promise; `figures` is for the table."""

    violations: dict[str, list[str]] = field(default_factory=dict)
    figures: dict[str, int] = field(default_factory=dict)

    def add(self, rule: str, what: Iterable[str]) -> int:
        found = list(what)
        if found:
            self.violations.setdefault(rule, []).extend(found)
        return len(found)

    def lines(self) -> list[str]:
        shown = []
        for rule, whats in self.violations.items():
            shown += [f"  {rule}: {what}" for what in whats[:SHOWN]]
            shown += [f"  {rule}: and {len(whats) - SHOWN} more"] if len(whats) > SHOWN else []
        return shown


@dataclass
class Ended:
    """One execution as the database holds it, with its steps and its calls outside."""

    row: Row
    number: int
    kind: str
    payload: Any
    steps: list[Row] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)  # Idempotency-Keys, one for each effect

    @property
    def plan(self) -> plan.Kind:
        return plan.KINDS[self.kind]

    @property
    def name(self) -> str:
        return f"number {self.number} ({self.kind}, {self.row['id']})"

    @property
    def id(self) -> uuid.UUID:
        return uuid.UUID(plain(self.row["id"]))

    def lived_within(self, start: float, end: float) -> bool:
        """Return whether the execution lived, from accept to end, at some time between two moments."""
        finished = moment(self.row["finished_at"])
        return made_at(self.id).timestamp() <= end and (finished is None or finished.timestamp() >= start)


def moment(value: datetime | str | None) -> datetime | None:
    """Return a time from either database; SQLite's is a text in UTC."""
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found.replace(tzinfo=UTC) if found and found.tzinfo is None else found


def plain(id: object) -> str:
    return str(id).replace("-", "")


def clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))

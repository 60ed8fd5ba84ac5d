"""What the engine gives to a walk and to each of its steps: journal, variables, ports."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Protocol

from connectors.sdk.call import JSON, Http, Mail
from executions import sealed_json
from executions.states import StepStatus
from executions.store.rows import Claimed, StepRecord, VariableRow
from projects.sealing import UnreadableSecret, decrypt

logger = logging.getLogger(__name__)


class Journal(Protocol):
    """Where the runner writes what must be durable before it goes on; the rest goes with its last move."""

    async def durable(self, execution: Claimed, records: list[StepRecord]) -> None:
        """Return once the records are committed; raise Fenced when another engine runs the execution now."""


class Fenced(Exception):
    """Another engine runs this execution now: drop every result."""


@dataclass(frozen=True, kw_only=True)
class Variables:
    """A project's variables; those in `secret_keys` are never stored or shown in the clear."""

    values: dict[str, JSON] = field(default_factory=dict)
    secret_keys: frozenset[str] = frozenset()

    @cached_property
    def secret_values(self) -> list[str]:
        return [str(self.values[key]) for key in self.secret_keys]

    @property
    def unresolved(self) -> dict[str, JSON]:
        """Return the values, with each secret's expression (`{{ vars.KEY }}`) in its place, as inputs are recorded."""
        return {key: f"{{{{ vars.{key} }}}}" if key in self.secret_keys else v for key, v in self.values.items()}


def variables_of(project_id: uuid.UUID, rows: Iterable[VariableRow]) -> Variables:
    """Return a project's variables; one that no key decrypts is left out, and a step that uses it fails by name."""
    values: dict[str, JSON] = {}
    secret_keys = set()
    for key, encrypted, is_secret in rows:
        try:
            values[key] = decrypt(encrypted)
        except UnreadableSecret as error:
            logger.error("variable %s of project %s: %s", key, project_id, error)
            continue
        if is_secret:
            secret_keys.add(key)
    return Variables(values=values, secret_keys=frozenset(secret_keys))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """All that a step may use of its execution; the runner makes one for a whole walk.

    `scope` maps names to values for data mapping and grows step by step. `enter` waits for the execution's turn of
    the loop and tells the engine whose code runs next. `make_durable` commits every step run so far, and the one given
    with it; a step calls it before it acts on the world. It raises Fenced.
    """

    execution: Claimed
    scope: dict[str, JSON]
    variables: Variables
    http: Http
    mail: Mail
    enter: Callable[[str], Awaitable[None]]
    make_durable: Callable[[StepNote | None], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNote:
    """What a step did, in the clear: it may hold secrets until `sealed` makes the record that is stored."""

    key: str
    position: int
    status: StepStatus
    connector: str
    action: str
    title: str
    tries: int
    started_at: datetime
    finished_at: datetime | None
    input: JSON  # None: nothing was rendered
    output: JSON
    error_code: str
    error: str
    is_external: bool
    is_reply: bool
    resume_at: datetime | None

    def sealed(self, execution: Claimed, variables: Variables) -> StepRecord:
        """Return the record to store: every secret value in it is encrypted where it stands, or masked in a message."""
        secrets = variables.secret_values
        has_output = self.status is StepStatus.SUCCESS or self.output is not None
        return StepRecord(
            execution=execution,
            key=self.key,
            iteration="",
            position=self.position,
            status=self.status,
            connector=self.connector,
            action=self.action,
            title=self.title,
            tries=self.tries,
            started_at=self.started_at,
            finished_at=self.finished_at,
            input=sealed_json.dumps(sealed_json.sealed(self.input, secrets)) if self.input is not None else None,
            output=sealed_json.dumps(sealed_json.sealed(self.output, secrets)) if has_output else None,
            error_code=self.error_code,
            error=sealed_json.hidden(self.error, secrets),
            is_external=self.is_external,
            is_reply=self.is_reply,
            resume_at=self.resume_at,
        )


class StepLog:
    """What the steps of a walk did: sealed when it is kept, durable with the walk's next commit.

    An object of its own, because a runner that its steps referred to would live on until the garbage collector came.
    """

    def __init__(self, execution: Claimed, variables: Variables, journal: Journal) -> None:
        self.execution = execution
        self.variables = variables
        self.journal = journal
        self.records: list[StepRecord] = []  # not yet durable

    def keep(self, note: StepNote) -> None:
        self.records.append(note.sealed(self.execution, self.variables))

    async def make_durable(self, note: StepNote | None = None) -> None:
        """Commit what was kept, and the note; return at once when there is nothing. Raises Fenced."""
        if note is not None:
            self.keep(note)
        if self.records:
            records, self.records = self.records, []
            await self.journal.durable(self.execution, records)

"""The things that the engine gives to a runner and the runner to each step: journal, variables, ports."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Protocol

from connectors.compute.shared import Compute
from connectors.sdk import secret_use
from connectors.sdk.call import JSON, Http, Mail
from connectors.sdk.secret_use import Secrets
from executions import sealed_json
from executions.secret_forms import Mask
from executions.states import StepStatus
from executions.store.rows import Claimed, StepRecord, VariableRow
from projects.models.variable import variable_place
from projects.sealing import UnreadableSecret, decrypt

STALL_CPU_S = 2  # seconds of computing in which a step's code must let the engine's loop go on

logger = logging.getLogger(__name__)


LEARNED = 300_000  # characters of the forms of what one step computed: a mask is made beside other executions


class Journal(Protocol):
    """Stores the records that must be durable before the runner goes on; the others go with the runner's last move."""

    async def durable(self, execution: Claimed, records: list[StepRecord]) -> None:
        """Return once the records are committed; raise Fenced when another engine runs the execution now."""

    async def large_text(self, execution: Claimed, attempt: int, key: str) -> str:
        """Return a stored text of the execution that was not loaded with it."""


class Fenced(Exception):
    """Another engine runs this execution now, so every result of this one must be dropped."""


class Stopped(Exception):
    """The execution is to stop, so the step does not begin."""


class Stalled(BaseException):
    """Raised from outside in code that has held the engine's loop for STALL_CPU_S; no `except Exception` eats it."""


@dataclass(frozen=True, kw_only=True)
class Variables:
    """A project's variables by key; the values of `secret_keys` are never stored or shown in the clear."""

    values: dict[str, JSON] = field(default_factory=dict)
    secret_keys: frozenset[str] = frozenset()

    @cached_property
    def masks(self) -> tuple[Mask, ...]:
        """Return what finds the secret values in texts; nothing when there are none."""
        mask = Mask(str(self.values[key]) for key in sorted(self.secret_keys))
        return (mask,) if mask else ()

    @property
    def unresolved(self) -> dict[str, JSON]:
        """Return the values with the expression `{{ vars.KEY }}` in place of each secret, for recorded inputs."""
        return {key: f"{{{{ vars.{key} }}}}" if key in self.secret_keys else v for key, v in self.values.items()}


def variables_of(project_id: uuid.UUID, rows: Iterable[VariableRow]) -> Variables:
    """Return a project's variables from their encrypted rows.

    A variable that no key decrypts is logged and left out. A step that uses it then fails and names it, and all other
    steps still work.
    """
    values: dict[str, JSON] = {}
    secret_keys = set()
    for key, encrypted, is_secret in rows:
        try:
            values[key] = decrypt(encrypted, *variable_place(project_id, key))
        except UnreadableSecret as error:
            logger.error("variable %s of project %s: %s", key, project_id, error)
            continue
        if is_secret:
            secret_keys.add(key)
    return Variables(values=values, secret_keys=frozenset(secret_keys))


# Not frozen, as StepNote and Work: one is made for each execution, and a frozen one takes four times as long.
@dataclass(slots=True, kw_only=True)
class StepContext:
    """The part of an execution that its steps may use; the runner makes one for all of them.

    `scope` maps names to values for data mapping and grows with each step. `enter` takes a step's key, waits for the
    execution's turn of the loop and notes in the black box that the step's code runs next. `log` keeps the step runs; a
    step makes it durable before it acts on the world.
    """

    execution: Claimed
    scope: dict[str, JSON]
    variables: Variables
    http: Http
    mail: Mail
    compute: Compute
    enter: Callable[[str], Awaitable[None]]
    log: StepLog


@dataclass(slots=True, kw_only=True)
class StepNote:
    """One step run in the clear: its record, and what the record gets only once it is sealed."""

    record: StepRecord
    input: JSON  # None when the step's input was not rendered
    output: JSON
    error: str
    is_secret: bool = False  # the output was computed with a secret, so that all of it is one

    def sealed(self, masks: sealed_json.Masks) -> StepRecord:
        """Return the record to store: secrets are encrypted where they stand, and masked in the error message."""
        record, execution_id = self.record, self.record.execution.id
        if self.input is not None:
            record.input = sealed_json.sealed(self.input, masks, execution_id)
        if self.is_secret and (record.status is StepStatus.SUCCESS or self.output is not None):
            record.output = sealed_json.whole(self.output, execution_id)
        elif record.status is StepStatus.SUCCESS or self.output is not None:
            record.output = sealed_json.sealed(self.output, masks, execution_id)
        record.error = sealed_json.hidden(self.error, masks)
        return record


@lru_cache(maxsize=256)  # a live version has the same at every execution
def mask_of(typed: tuple[str, ...]) -> Mask:
    """Return what finds the secrets that were typed into a definition's steps."""
    return Mask(typed)


class StepLog:
    """Keeps the sealed step runs of one execution until the next commit makes them durable.

    It is an object of its own because steps refer to it. If they referred to the runner, each runner would be part of a
    cycle and stay in memory until the garbage collector came.
    """

    def __init__(self, execution: Claimed, variables: Variables, journal: Journal, typed: tuple[str, ...] = ()) -> None:
        self.execution = execution
        self.journal = journal
        self.records: list[StepRecord] = []  # those that are not yet durable
        self.masks = [*variables.masks, *([mask_of(typed)] if typed else [])]
        self.secrets = Secrets(keys=variables.secret_keys)

    def keep(self, note: StepNote) -> None:
        record = note.sealed(self.masks)
        self.note_output(record.key, record.output)
        self.records.append(record)

    def note_output(self, key: str, text: str | None) -> None:
        """Note whether a step's stored output holds secrets: what later steps compute with it is one, too."""
        if text is not None and sealed_json.has_seals(text):
            self.secrets.steps.add(key)

    def learn(self, values: Iterable[JSON]) -> None:
        """Mask values that were computed with a secret in all later records, wherever they come back."""
        if texts := secret_use.texts_in(values):
            self.masks.append(Mask(texts, LEARNED))

    async def make_durable(self, note: StepNote | None = None) -> None:
        """Commit the kept step runs and this note; return at once when there are none. Raises Fenced."""
        if note is not None:
            self.keep(note)
        if self.records:
            records, self.records = self.records, []
            await self.journal.durable(self.execution, records)

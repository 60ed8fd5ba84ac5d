"""What a walk gets from the engine: where it writes things down, and the variables of its project."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from connectors.sdk.call import JSON
from executions.store.rows import Claimed, StepRecord, VariableRow
from projects.secrets import UnreadableSecret, decrypt

logger = logging.getLogger(__name__)


class Journal(Protocol):
    """Where the runner writes down what must be durable before it goes on; the rest goes with its last move."""

    async def durable(self, execution: Claimed, records: list[StepRecord]) -> None:
        """Return when the records are committed; raise Fenced when the execution is no longer ours."""


class Fenced(Exception):
    """Another engine runs this execution now: drop everything."""


@dataclass(frozen=True, kw_only=True)
class Variables:
    """A project's variables, and which of them must never be stored or shown in the clear."""

    values: dict[str, JSON] = field(default_factory=dict)
    secret_keys: frozenset[str] = frozenset()

    @cached_property
    def secret_values(self) -> list[str]:
        return [str(self.values[key]) for key in self.secret_keys]

    @property
    def unresolved(self) -> dict[str, JSON]:
        """Return them with each secret standing for itself, as inputs are recorded."""
        return {key: f"{{{{ vars.{key} }}}}" if key in self.secret_keys else v for key, v in self.values.items()}


def variables_of(project_id: uuid.UUID, rows: Iterable[VariableRow]) -> Variables:
    """Return a project's variables; one whose key is lost is missing, and a step that uses it says so."""
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

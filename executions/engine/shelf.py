"""What the executions of an engine have in common: definitions and variables, read once and kept."""

from __future__ import annotations

import logging
import uuid

from pydantic import ValidationError

from automations.definition import Definition, Unreadable, why_unreadable
from automations.models import Version
from executions.engine.work import Work
from executions.runner.context import Variables, variables_of
from executions.store.rows import Claimed, VariableRow

logger = logging.getLogger(__name__)


class Shelf:
    """Keeps what it has read; in the database thread."""

    def __init__(self) -> None:
        self.definitions: dict[uuid.UUID, Definition | Unreadable] = {}
        self.variables: dict[uuid.UUID, tuple[list[VariableRow], Variables]] = {}

    def works(self, claimed: list[Claimed]) -> list[Work]:
        """Return the executions with their definitions and variables; versions never change, so each is read once."""
        if not claimed:
            return []
        if missing := {execution.version_id for execution in claimed} - self.definitions.keys():
            for version in Version.objects.filter(pk__in=missing):
                self.definitions[version.uid] = _readable(version)
        return [
            Work(one, self.definitions.get(one.version_id, Unreadable.BROKEN), self._variables(one)) for one in claimed
        ]

    def _variables(self, execution: Claimed) -> Variables:
        """Return the present variables of the execution's project; unchanged ones are not decrypted again."""
        known = self.variables.get(execution.project_id)
        if known is None or known[0] != execution.variables:
            known = execution.variables, variables_of(execution.project_id, execution.variables)
            self.variables[execution.project_id] = known
        return known[1]


def _readable(version: Version) -> Definition | Unreadable:
    try:
        return Definition.model_validate(version.definition)
    except (ValidationError, RecursionError) as error:
        logger.error("version %s cannot be read: %s", version.uid, error)
        return why_unreadable(version.definition)

"""Step runs as the engine hands them to the store."""

from __future__ import annotations

from executions.states import StepStatus
from executions.store.rows import Claimed, StepRecord
from projects.ids import made_at


def record(execution: Claimed, *, key: str = "a", input: str = "{}", output: str = "{}") -> StepRecord:
    """Return a step that ended with success at once."""
    at = made_at(execution.id)
    return StepRecord(
        execution=execution, key=key, iteration="", position=1, status=StepStatus.SUCCESS, connector="transform",
        action="fields", title="A", tries=1, started_at=at, finished_at=at, input=input, output=output,
    )  # fmt: skip

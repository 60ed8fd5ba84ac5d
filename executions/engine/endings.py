"""Moves that the engine decides by itself, without the runner."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from automations.definition import Unreadable
from executions.engine.work import Work
from executions.states import Status
from executions.store.rows import Claimed, Move

NEWER_AFTER_S = 10.0  # seconds until engines look again at an execution that only a newer release can read


def move_of_unreadable(work: Work) -> Move:
    """Return the move of an execution whose version this release cannot read.

    Old and new releases run side by side during a deployment: the execution pauses until an engine of the newer one
    claims it. An execution whose version is broken fails. So does one that is to be rejected, and so does a suspect:
    engines claim suspects that are Pending, never Paused ones, so a paused suspect would wait for ever. One that is to
    stop ends: nothing of it is run here.
    """
    execution = work.execution
    if execution.stop:
        return _ended(execution, Status.REJECTED, execution.stop.code, f"{execution.stop.reason}.")
    if work.definition is Unreadable.BROKEN or execution.is_suspect or work.verdict[0]:
        return failed(
            execution, "unreadable_version", "This release of AgentOS cannot read the version of the automation."
        )
    return Move(
        execution=execution,
        target=Status.PAUSED,
        reason_code="newer_release",
        reason="The execution waits for a newer release of AgentOS.",
        ran_ms=execution.ran_ms,
        resume_at=datetime.now(UTC) + timedelta(seconds=NEWER_AFTER_S),
    )


def failed(execution: Claimed, code: str, reason: str) -> Move:
    """Return the move to Failed of an execution that cannot run or go on."""
    return _ended(execution, Status.FAILED, code, reason)


def _ended(execution: Claimed, status: Status, code: str, reason: str) -> Move:
    return Move(execution=execution, target=status, reason_code=code, reason=reason, wakes_caller=True)

"""The seven statuses, the moves between them, and which of them count (ARCHITECTURE.md, "The life of an execution")."""

from __future__ import annotations

from django.db.models import IntegerChoices


class Status(IntegerChoices):
    PENDING = 0, "Pending"  # accepted, not yet picked up by an engine
    RUNNING = 1, "Running"  # an engine walks its steps
    PAUSED = 2, "Paused"  # waits for a time or a call, holding no worker
    SUCCESS = 3, "Success"  # the last step is done, or a condition ended it
    FAILED = 4, "Failed"  # a step failed and its rule is stop
    REJECTED = 5, "Rejected"  # exceeded its allotted time, or killed its worker three times
    PARTIALLY_EXECUTED = 6, "Partially Executed"  # stopped part-way by the monthly e-mail maximum

    @property
    def code(self) -> str:
        """Return the word used in JSON, in HTML hooks and in URLs."""
        return self.name.lower()

    @classmethod
    def from_code(cls, code: str) -> Status | None:
        return next((status for status in cls if status.code == code), None)


class StepStatus(IntegerChoices):
    """A step run's statuses; those that an execution has too share its numbers."""

    RUNNING = 1, "Running"  # the intent of a never-repeat step, committed before it acts
    PAUSED = 2, "Paused"
    SUCCESS = 3, "Success"
    FAILED = 4, "Failed"
    REJECTED = 5, "Rejected"
    PARTIALLY_EXECUTED = 6, "Not sent"  # met the monthly maximum
    SKIPPED = 7, "Skipped"  # switched off by the builder

    @property
    def code(self) -> str:
        return self.name.lower()


class Lane(IntegerChoices):
    """How an execution waits; claims go in this order."""

    SYNC = 0, "Sync"  # a caller waits for its Response step
    DIRECT = 1, "Direct"
    THROTTLED = 2, "Throttled"  # its organization's starts per second


class Kind(IntegerChoices):
    AUTOMATION = 0, "Automation"
    AGENT_TASK = 1, "Agent task"
    AGENT_OPERATION = 2, "Agent operation"


FINAL = frozenset({Status.SUCCESS, Status.FAILED, Status.REJECTED, Status.PARTIALLY_EXECUTED})

# Every move of an execution: whatever writes a status checks it here, and the store makes its SQL from it.
MOVES: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.RUNNING}),
    Status.RUNNING: FINAL | {Status.PAUSED, Status.PENDING},
    Status.PAUSED: frozenset({Status.RUNNING, Status.REJECTED}),
    Status.FAILED: frozenset({Status.PENDING}),  # Retry Execution
    Status.SUCCESS: frozenset(),
    Status.REJECTED: frozenset(),
    Status.PARTIALLY_EXECUTED: frozenset(),
}

ATTEMPT_LIMIT = 3  # the first attempt and two retries


class ForbiddenMove(Exception):
    """Code tried a move that MOVES does not list."""


def sources_of(target: Status) -> list[Status]:
    """Return the statuses from which an execution may move to `target`, in their order."""
    return [source for source in Status if target in MOVES[source]]


def check_move(source: Status, target: Status) -> None:
    """Raise ForbiddenMove unless MOVES lists the move; the code that writes a status calls this first."""
    if target not in MOVES[source]:
        raise ForbiddenMove(f"{source.label} to {target.label}")


def counts(*, target: Status, is_counted: bool) -> bool:
    """Return whether this move makes the execution count: once, at its first final status, whatever that is."""
    return target in FINAL and not is_counted

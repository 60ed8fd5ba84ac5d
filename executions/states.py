"""The seven statuses of an execution, its moves between them, and which moves count (docs/execution-lifecycle.md)."""

from __future__ import annotations

from django.db.models import IntegerChoices


class Status(IntegerChoices):
    """An execution's statuses; the numbers are stored, the labels shown."""

    PENDING = 0, "Pending"  # accepted, and not yet claimed by an engine
    RUNNING = 1, "Running"  # an engine runs its steps
    PAUSED = 2, "Paused"  # waits for a time, and takes no slot
    SUCCESS = 3, "Success"  # the last step is done, or a condition ended the execution
    FAILED = 4, "Failed"  # a step failed whose rule is *stop*
    # Cancelled, exceeded its allotted time, killed its worker three times, stalled it twice, or is a copy's.
    REJECTED = 5, "Rejected"
    PARTIALLY_EXECUTED = 6, "Partially Executed"  # the monthly e-mail maximum stopped it between two steps

    __hash__ = int.__hash__  # an enum's own hashes its name, in Python, at each look into a set

    @property
    def code(self) -> str:
        """Return the status' word in JSON, in URLs and in attributes of HTML."""
        return self.name.lower()

    @classmethod
    def from_code(cls, code: str) -> Status | None:
        """Return the status with this code, or None."""
        return next((status for status in cls if status.code == code), None)


class StepStatus(IntegerChoices):
    """A step run's statuses; a status that executions have too has the same number."""

    RUNNING = 1, "Running"  # the intent of a never-repeat step, committed before the step acts
    PAUSED = 2, "Paused"
    SUCCESS = 3, "Success"
    FAILED = 4, "Failed"
    REJECTED = 5, "Rejected"
    PARTIALLY_EXECUTED = 6, "Not sent"  # an e-mail step that met the monthly maximum
    SKIPPED = 7, "Skipped"  # a step that the builder has switched off

    @property
    def code(self) -> str:
        return self.name.lower()


class Lane(IntegerChoices):
    """How an execution waits for its start; engines claim the lanes in this order."""

    SYNC = 0, "Sync"  # a caller waits for the reply of a Response step
    DIRECT = 1, "Direct"  # starts as soon as a slot is free
    THROTTLED = 2, "Throttled"  # starts in order, as many a second as its organization allows


class Kind(IntegerChoices):
    """The kinds of execution; so far each one is an automation's."""

    AUTOMATION = 0, "Automation"
    AGENT_TASK = 1, "Agent task"
    AGENT_OPERATION = 2, "Agent operation"


FINAL = frozenset({Status.SUCCESS, Status.FAILED, Status.REJECTED, Status.PARTIALLY_EXECUTED})
OPEN = frozenset(Status) - FINAL
WAITING = frozenset({Status.PENDING, Status.PAUSED})  # no engine runs it

# Every move that an execution can make. The store makes its SQL from this table, and all other code that writes a
# status calls check_move() first.
MOVES: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.RUNNING, Status.REJECTED}),  # Rejected: cancelled before it started
    Status.RUNNING: FINAL | {Status.PAUSED, Status.PENDING},
    Status.PAUSED: frozenset({Status.RUNNING, Status.REJECTED}),  # Rejected: cancelled while it waited
    Status.FAILED: frozenset({Status.PENDING}),  # Retry Execution
    Status.SUCCESS: frozenset(),
    Status.REJECTED: frozenset(),
    Status.PARTIALLY_EXECUTED: frozenset(),
}

ATTEMPT_LIMIT = 3  # the first attempt and two retries


class ForbiddenMove(Exception):
    """A program error: code tried a move that MOVES does not list."""


def sources_of(target: Status) -> list[Status]:
    """Return the statuses from which an execution may move to `target`, by number."""
    return [source for source in Status if target in MOVES[source]]


def check_move(source: Status, target: Status) -> None:
    """Raise ForbiddenMove unless MOVES lists the move; the code that writes a status calls this first."""
    if target not in MOVES[source]:
        raise ForbiddenMove(f"{source.label} to {target.label}")


def counts(*, target: Status, is_counted: bool) -> bool:
    """Return whether this move makes the execution count: it counts once, at its first final status."""
    return target in FINAL and not is_counted

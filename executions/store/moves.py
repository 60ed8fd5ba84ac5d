"""The SQL of statuses and moves, made from `executions.states`, so that no statement does what its table forbids."""

from __future__ import annotations

from executions.states import FINAL, Lane, Status, check_move, sources_of


def any_of(*statuses: Status) -> str:
    """Return the condition that an execution has one of the statuses, in the words of the partial indexes."""
    numbers = ", ".join(str(status.value) for status in statuses)
    return f"status IN ({numbers})" if len(statuses) > 1 else f"status = {numbers}"


def change(source: Status, target: Status) -> tuple[str, str]:
    """Return a move's compare-and-set: what goes behind SET and what behind WHERE; raise ForbiddenMove."""
    check_move(source, target)
    return f"status = {target.value}", any_of(source)


PENDING = any_of(Status.PENDING)
RUNNING = any_of(Status.RUNNING)
CLAIMABLE = any_of(*sources_of(Status.RUNNING))
OPEN = any_of(*(status for status in Status if status not in FINAL))
START = f"status = {Status.RUNNING.value}"  # of what is CLAIMABLE
GIVE_BACK, GIVEN_BACK_FROM = change(Status.RUNNING, Status.PENDING)
IN_LINE = f"{PENDING} AND lane = {Lane.THROTTLED.value}"

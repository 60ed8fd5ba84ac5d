"""SQL for statuses and moves, generated from `executions.states`: no statement can make a move that is not listed."""

from __future__ import annotations

from executions.states import FINAL, Lane, Status, check_move, sources_of


def any_of(*statuses: Status) -> str:
    """Return the SQL condition that an execution has one of the statuses.

    It is worded as in the partial indexes: SQLite uses one only for a condition that repeats the index's own.
    """
    numbers = ", ".join(str(status.value) for status in statuses)
    return f"status IN ({numbers})" if len(statuses) > 1 else f"status = {numbers}"


def change(source: Status, target: Status) -> tuple[str, str]:
    """Return a move's compare-and-set as the assignment after SET and the condition after WHERE.

    Raise ForbiddenMove for a move that `executions.states` does not list.
    """
    check_move(source, target)
    return f"status = {target.value}", any_of(source)


def each_of(column: str, condition: str, *, of: str) -> str:
    """Return SQL for the table `of`: the different values of a column among the executions that fulfil a condition.

    It searches an index once for each value, as there may be many executions and few values.
    """
    rows = f"FROM executions_execution WHERE {condition}"
    return (
        f"WITH RECURSIVE {of} ({column}) AS (SELECT (SELECT {column} {rows} ORDER BY {column} LIMIT 1) UNION ALL"
        f" SELECT (SELECT {column} {rows} AND {column} > {of}.{column} ORDER BY {column} LIMIT 1)"
        f" FROM {of} WHERE {of}.{column} IS NOT NULL)"
    )


PENDING = any_of(Status.PENDING)
RUNNING = any_of(Status.RUNNING)
CLAIMABLE = any_of(*sources_of(Status.RUNNING))
OPEN = any_of(*(status for status in Status if status not in FINAL))
START = f"status = {Status.RUNNING.value}"  # for rows that are CLAIMABLE
GIVE_BACK, GIVEN_BACK_FROM = change(Status.RUNNING, Status.PENDING)
IN_LINE = f"{PENDING} AND lane = {Lane.THROTTLED.value}"

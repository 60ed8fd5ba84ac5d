"""The figures that /metrics reads from the database, and the histograms that it keeps there.

A count stops at COUNTED rows, so that a scrape costs no more while millions of executions wait.
"""

from __future__ import annotations

import uuid

from django.db import connection

from executions.states import Lane, Status
from executions.store import store
from executions.store.moves import CLAIMABLE
from executions.store.throttle import LINE, each_in_line

COUNTED = 10_000  # rows that one count reads at most
ORGANIZATIONS, COUNTED_OF_ONE = 100, 1000  # organizations whose due executions are counted, and of each at most
COLUMNS = ("name", "label", "bucket", "count", "seconds")

type MeasureRow = tuple[str, str, int, int, float]


def waiting(lane: Lane) -> tuple[int, float]:
    """Return the number of a lane's due executions, and for how many seconds the first of them has been due.

    Paused executions whose time has come count like Pending ones; the number stops at COUNTED.
    """
    is_here = f"lane = {lane.value} AND run_at <= {store().now}"
    if lane is Lane.THROTTLED:
        each, of_each = each_in_line("organization_id"), f"{LINE} AND run_at <= {store().now}"
        owners = "in_line"
    else:
        each, of_each = _each_waiting(), f"{_due()} AND {is_here}"
        owners = "waiting"
    of_owner = f"{of_each} AND executions_execution.organization_id = {owners}.organization_id"
    # Engines make those due whose time has come; without an engine they stay what they are.
    unripe = f"SELECT run_at {_of(store().is_not_due)} AND {is_here} AND lane <> {Lane.THROTTLED.value}"
    firsts = f"SELECT (SELECT run_at {of_owner} ORDER BY run_at LIMIT 1) AS run_at FROM {owners}"
    rows = f"SELECT 1 FROM {owners} CROSS JOIN executions_execution WHERE {of_owner.partition(' WHERE ')[2]}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"{each} SELECT (SELECT COUNT(*) FROM ({rows} LIMIT {COUNTED}) AS due)"
            f" + (SELECT COUNT(*) FROM ({unripe} LIMIT {COUNTED}) AS unripe),"
            f" (SELECT {store().seconds_since('MIN(run_at)')} FROM ({firsts} UNION ALL"
            f" SELECT run_at FROM ({unripe} ORDER BY run_at LIMIT 1) AS first) AS firsts)",
            [],
        )
        count, seconds = cursor.fetchone()
    return min(count, COUNTED), max(0.0, float(seconds or 0))


def waiting_by_organization() -> dict[uuid.UUID, int]:
    """Return the numbers of due executions of organizations that have some, COUNTED_OF_ONE of each at most.

    Executions in a throttled line do not count. If more than ORGANIZATIONS wait, only so many of them are counted.
    """
    own = f"SELECT 1 {_due()} AND executions_execution.organization_id = waiting.organization_id"
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_each_waiting()} SELECT organization_id, (SELECT COUNT(*) FROM ({own} LIMIT {COUNTED_OF_ONE}) AS own)"
            f" FROM waiting WHERE organization_id IS NOT NULL LIMIT {ORGANIZATIONS}",
            [],
        )
        return {store().to_uuid(row[0]): row[1] for row in cursor.fetchall()}


def _of(condition: str) -> str:
    return f"FROM executions_execution WHERE {CLAIMABLE} AND {condition}"


def _due() -> str:
    return _of(store().is_due)


def _each_waiting() -> str:
    """Return SQL for the table `waiting`: the organizations that have due executions, and a NULL."""
    following = f"(SELECT organization_id {_due()}{{}} ORDER BY organization_id LIMIT 1)"
    return (
        f"WITH RECURSIVE waiting (organization_id) AS (SELECT {following.format('')} UNION ALL"
        f" SELECT {following.format(' AND organization_id > waiting.organization_id')} FROM waiting"
        " WHERE waiting.organization_id IS NOT NULL)"
    )


def paused() -> int:
    """Return the number of Paused executions, COUNTED at most."""
    # The partial index execution_log_status begins with the project and excludes Success: hence the join with all
    # projects, and a NOT that says nothing new.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT COUNT(*) FROM (SELECT 1 FROM projects_project p CROSS JOIN executions_execution e"
            f" WHERE e.project_id = p.uid AND e.status = {Status.PAUSED.value} AND NOT (e.status = 3)"
            f" LIMIT {COUNTED}) AS waiting"
        )
        return int(cursor.fetchone()[0])


def add(rows: list[MeasureRow]) -> None:
    """Add counts and seconds to the buckets of the histograms."""
    with store().transaction():
        store().insert_many(
            "executions_measure", COLUMNS, sorted(rows),  # one order of locks: two processes cannot deadlock
            "ON CONFLICT (name, label, bucket) DO UPDATE SET count = executions_measure.count + excluded.count,"
            " seconds = executions_measure.seconds + excluded.seconds",
        )  # fmt: skip

"""The figures that /metrics reads from the database, and the histograms that it keeps there.

A count stops at COUNTED rows, so that a scrape costs no more while millions of executions wait.
"""

from __future__ import annotations

from django.db import connection

from executions.states import Lane, Status
from executions.store import store
from executions.store.moves import CLAIMABLE

COUNTED = 10_000  # rows that one count reads at most
COLUMNS = ("name", "label", "bucket", "count", "seconds")

type MeasureRow = tuple[str, str, int, int, float]


def waiting(lane: Lane) -> tuple[int, float]:
    """Return the number of a lane's due executions, and for how many seconds the first of them has been due.

    Paused executions whose time has come count like Pending ones; the number stops at COUNTED.
    """
    age = store().seconds_since("MIN(run_at)")
    # Worded like the partial index execution_due, so that the database uses it.
    due = f"{CLAIMABLE} AND lane = {lane.value} AND run_at <= {store().now}"
    line = f"SELECT run_at FROM executions_execution WHERE {due} ORDER BY run_at LIMIT {COUNTED}"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*), {age} FROM ({line}) AS line", [])
        count, seconds = cursor.fetchone()
    return count, max(0.0, float(seconds or 0))


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

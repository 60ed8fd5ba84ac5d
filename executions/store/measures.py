"""What /metrics asks of the database and keeps in it. However many wait, at most COUNTED rows of a lane are read."""

from __future__ import annotations

from django.db import connection

from executions.states import Lane, Status
from executions.store import store
from executions.store.moves import CLAIMABLE

COUNTED = 10_000
COLUMNS = ("name", "label", "bucket", "count", "seconds")

type MeasureRow = tuple[str, str, int, int, float]


def waiting(lane: Lane) -> tuple[int, float]:
    """Return how many of a lane are due, Pending or back from a pause, and for how many seconds the first has been."""
    age = store().seconds_since("MIN(run_at)")
    due = f"{CLAIMABLE} AND lane = {lane.value} AND run_at <= {store().now}"  # in words of execution_due
    line = f"SELECT run_at FROM executions_execution WHERE {due} ORDER BY run_at LIMIT {COUNTED}"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*), {age} FROM ({line}) AS line", [])
        count, seconds = cursor.fetchone()
    return count, max(0.0, float(seconds or 0))


def paused() -> int:
    """Return how many are Paused, in the words of the partial index execution_log_status, a project at a time."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT COUNT(*) FROM (SELECT 1 FROM projects_project p CROSS JOIN executions_execution e"
            f" WHERE e.project_id = p.uid AND e.status = {Status.PAUSED.value} AND NOT (e.status = 3)"
            f" LIMIT {COUNTED}) AS waiting"
        )
        return int(cursor.fetchone()[0])


def add(rows: list[MeasureRow]) -> None:
    """Add to the histograms' buckets; rows are sorted, so that processes lock them in one order."""
    with store().transaction():
        store().insert_many(
            "executions_measure", COLUMNS, sorted(rows),
            "ON CONFLICT (name, label, bucket) DO UPDATE SET count = executions_measure.count + excluded.count,"
            " seconds = executions_measure.seconds + excluded.seconds",
        )  # fmt: skip

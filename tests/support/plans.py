"""How much of a database a statement looks at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


@contextmanager
def plans() -> Iterator[list[Any]]:
    """Yield what becomes the plans of the statements that this connection runs, with what they did."""
    found: list[Any] = []
    wire = connection.connection
    for setting in ("log_min_duration = 0", "log_analyze = on", "log_format = json", "log_nested_statements = on"):
        wire.execute(f"LOAD 'auto_explain'; SET auto_explain.{setting}; SET client_min_messages = log")

    def take(notice: Any) -> None:
        _, _, plan = notice.message_primary.partition("plan:\n")
        found.append(json.loads(plan)["Plan"])

    wire.add_notice_handler(take)
    yield found
    wire.remove_notice_handler(take)
    wire.execute("SET client_min_messages = notice")


@contextmanager
def steps_of_the_database() -> Iterator[list[int]]:
    """Yield what becomes the pages that PostgreSQL looks at, or the instructions that SQLite executes, in hundreds."""
    steps: list[int] = []
    if connection.vendor == "sqlite":
        connection.connection.set_progress_handler(lambda: steps.append(1), 100)
        yield steps
        connection.connection.set_progress_handler(None, 0)
        return
    connection.ensure_connection()
    with plans() as seen:
        connection.connection.execute("SET auto_explain.log_buffers = on")
        yield steps
    steps += [plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in seen]


def rows_read(plan: dict[str, Any]) -> Iterator[float]:
    """Return how many rows each part of a plan gave."""
    yield plan["Actual Rows"] * plan["Actual Loops"]
    for part in plan.get("Plans", []):
        yield from rows_read(part)


def removed(plan: dict[str, Any]) -> Iterator[int]:
    """Return how many rows each part of a plan has read for nothing."""
    yield plan.get("Rows Removed by Join Filter", 0)
    for part in plan.get("Plans", []):
        yield from removed(part)

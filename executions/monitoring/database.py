"""Whether the database can be used: it answers, and has the tables of this release."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0  # between two looks; each is twice as long


def wait_until_usable(say: Callable[[str], None]) -> None:
    """Return once the database can be used; until then look again after growing pauses, and say each reason once."""
    said, pause_s = "", FIRST_PAUSE_S
    while reason := why_unusable():
        if reason != said:
            say(f"{reason} The cluster waits for it.")
        said = reason
        time.sleep(pause_s)
        pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)


def why_unusable() -> str:
    """Return why the database cannot be used; empty when it can. Leaves no connection open."""
    try:
        executor = MigrationExecutor(connection)
        is_behind = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"The database does not answer ({first})."
    finally:
        connection.close()
    return BEHIND if is_behind else ""


BEHIND = "The database lacks tables of this release: run `manage.py migrate`."

"""Whether the database can be used: it answers, has the tables of this release, and is no pooler of transactions."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

from executions.store import errors
from executions.store.pooler import POOLED, hears

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0  # between two looks; each is twice as long
BEHIND = "The database lacks tables of this release: run `manage.py migrate`."


class Unsuited(Exception):
    """The database can be used neither now nor later; the text says why and what to do."""


def wait_until_usable(say: Callable[[str], None]) -> None:
    """Return once the database can be used; until then look again after growing pauses, and say each reason once.

    Raise Unsuited.
    """
    said, pause_s = "", FIRST_PAUSE_S
    while reason := why_unusable():
        if reason != said:
            say(f"{reason} The cluster waits for it.")
        said = reason
        time.sleep(pause_s)
        pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)


def why_unusable() -> str:
    """Return why the database cannot be used; empty when it can. Leaves no connection open. Raise Unsuited."""
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return BEHIND
        if not hears():
            raise Unsuited(POOLED)
    except Error as error:
        return errors.in_words(error)
    finally:
        connection.close()
    return ""


def is_read_only() -> bool:
    """Return whether the database takes no writes, as far as it tells; a full disk tells it only when it is written."""
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        return bool(cursor.fetchone()[0] == "on")

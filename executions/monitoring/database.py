"""Whether the database can be used: it answers, has the tables of this release, and is no pooler of transactions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

from executions.monitoring import trouble
from executions.store import errors
from executions.store.pooler import POOLED, hears

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0  # between two looks; each is twice as long
LEAST_FREE = 1_000_000  # bytes of the disk of an SQLite file: one commit of a few large requests needs more
FULL = "The disk of the database is full."
BEHIND = "The database lacks tables of this release: run `manage.py migrate`."


class Unsuited(Exception):
    """The database can be used neither now nor later; the text says why and what to do."""


def wait_until_usable(say: Callable[[str], None]) -> None:
    """Return once the database can be used; until then look again after growing pauses, and say each reason once.

    Raise Unsuited.
    """
    said, pause_s = "", FIRST_PAUSE_S
    while reason := why_unusable():
        if reason == BEHIND:
            trouble.note(reason)
        if reason != said:
            say(f"{reason} The cluster waits for it.")
        said = reason
        time.sleep(pause_s)
        pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
    if said:
        trouble.forget()


def why_unusable() -> str:
    """Return why the database cannot be used; empty when it can. Leaves no connection open. Raise Unsuited."""
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return BEHIND
        if not hears():
            trouble.note(POOLED)
            raise Unsuited(POOLED)
    except Error as error:
        return errors.in_words(error)
    finally:
        connection.close()
    return ""


def why_no_writes() -> str:
    """Return why the database takes no writes, as far as that shows without one; empty when it takes them.

    A full disk of PostgreSQL shows only when it is written.
    """
    if connection.vendor == "sqlite":
        return _why_no_writes_to(os.fspath(connection.settings_dict["NAME"]))
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        return errors.READ_ONLY.sentence if cursor.fetchone()[0] == "on" else ""


def _why_no_writes_to(path: str) -> str:
    try:
        disk = os.statvfs(path)
    except OSError:  # the next statement tells what is wrong
        return ""
    if disk.f_bavail * disk.f_frsize < LEAST_FREE:
        return FULL
    return errors.READ_ONLY.sentence if disk.f_flag & os.ST_RDONLY else ""

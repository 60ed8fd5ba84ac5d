"""The errors of a database that cannot be reached, and the repair of a connection that may be dead."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError, connection

AWAY = (OperationalError, InterfaceError)  # the rows are not at fault: another try may succeed

LOCK_TIMEOUT = "55P03"  # PostgreSQL's SQLSTATE of a statement that has waited too long for somebody's lock


def is_lock_timeout(error: Exception) -> bool:
    """Return whether somebody's lock is the cause: the database is there, and has undone the transaction."""
    return getattr(error.__cause__, "sqlstate", None) == LOCK_TIMEOUT


def forget_connection() -> None:
    """Close this thread's connection, so that its next statement opens a new one; never raise."""
    try:
        connection.close()
    except Exception:  # closing a dead connection may fail; without it Django opens a new one all the same
        connection.connection = None

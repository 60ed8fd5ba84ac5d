"""The errors of a database that cannot be reached, and the repair of a connection that may be dead."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError, connection

AWAY = (OperationalError, InterfaceError)  # the rows are not at fault: another try may succeed


def forget_connection() -> None:
    """Close this thread's connection, so that its next statement opens a new one; never raise."""
    try:
        connection.close()
    except Exception:  # closing a dead connection may fail; without it Django opens a new one all the same
        connection.connection = None

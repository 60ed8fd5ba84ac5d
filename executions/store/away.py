"""When the database is away: what its driver then raises, and what to do with a connection that may be dead."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError, connection

AWAY = (OperationalError, InterfaceError)  # nothing that was to be stored is at fault: another try may succeed


def forget_connection() -> None:
    """Close this thread's connection, so that the next use opens one; a dead one may not even close."""
    try:
        connection.close()
    except Exception:
        connection.connection = None

"""Poolers between AgentOS and PostgreSQL: those that share connections between transactions are refused."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import Any

from django.core.checks import CheckMessage
from django.core.checks import Error as CheckError
from django.db import Error, connection

from projects.ids import new_id

HEARD_WITHIN_S = 5.0  # seconds that a notification may take; the server needs milliseconds
POOLED = (
    "DATABASE_URL names a pooler that gives each transaction another connection, such as PgBouncer with "
    "pool_mode=transaction. AgentOS needs connections of its own, for LISTEN and prepared statements: name the "
    "PostgreSQL server itself, or a pooler with pool_mode=session."
)


def hears() -> bool:
    """Return whether a notification reaches who listens for it, as on every server and pooler of sessions.

    A pooler of transactions has taken the connection away from the listener when the notification comes.
    """
    if connection.vendor != "postgresql":
        return True
    channel = f"agentos_{new_id().hex}"
    with closing(connection.copy()) as listener, closing(connection.copy()) as other, connection.wrap_database_errors:
        for one, command in ((listener, "LISTEN"), (other, "NOTIFY")):
            one.ensure_connection()
            one.connection.execute(f"{command} {channel}")
        return any(True for _ in listener.connection.notifies(timeout=HEARD_WITHIN_S, stop_after=1))


def check_pooler(databases: Iterable[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Have `manage.py migrate` refuse such a pooler: a check of Django's for databases."""
    try:
        return [] if not databases or hears() else [CheckError(POOLED, id="agentos.E001")]
    except Error:
        return []  # the command itself says that the database is away

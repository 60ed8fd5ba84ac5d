"""All SQL of the engine and of the intake, in both dialects; `store()` speaks the configured database's.

The caller opens the transaction: every method runs on the calling thread's connection.
"""

from __future__ import annotations

from functools import cache

from django.db import connection

from executions.store.base import Store


@cache
def store() -> Store:
    """Return the process's one store, in the dialect of the configured database."""
    if connection.vendor == "postgresql":
        from executions.store.postgresql import PostgreSQLStore

        return PostgreSQLStore()
    from executions.store.sqlite import SQLiteStore

    return SQLiteStore()

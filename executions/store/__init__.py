"""All SQL of the engine and of the intake, in both dialects: `store()` is the one for the configured database.

Methods run inside a transaction of the calling thread's connection, which its caller opens.
"""

from __future__ import annotations

from functools import cache

from django.db import connection

from executions.store.base import Store


@cache
def store() -> Store:
    if connection.vendor == "postgresql":
        from executions.store.postgresql import PostgreSQLStore

        return PostgreSQLStore()
    from executions.store.sqlite import SQLiteStore

    return SQLiteStore()

"""The app's set-up: it tunes the connections of the threads that repeat the store's statements."""

from __future__ import annotations

import threading
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.db.backends.signals import connection_created

# The names of threads that repeat the same few statements, and the seconds that each waits for a lock; 0: for ever.
STORE_THREADS = {"engine-database": settings.LOCK_LIMIT_S, "engine-beats": 2, "intake": 0}
# They repeat one that reads. SQLite's connections of theirs stay as they are: a tuned one would fail at a lock.
REPLY_THREADS = ("reply-look-up", "wake-agentos_reply")


class ExecutionsConfig(AppConfig):
    name = "executions"

    def ready(self) -> None:
        from executions.store.pooler import check_pooler

        connection_created.connect(tune_store_threads, dispatch_uid="executions.tune")
        checks.register(check_pooler, checks.Tags.database)


def tune_store_threads(connection: Any, **_: Any) -> None:
    """Tune a new connection of a store thread (`Dialect.tune`); leave all other connections alone."""
    name = threading.current_thread().name
    if name in STORE_THREADS or (connection.vendor == "postgresql" and name in REPLY_THREADS):
        from executions.store import store

        store().tune(patience_s=STORE_THREADS.get(name, 0))

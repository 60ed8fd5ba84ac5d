"""The app's set-up: it tunes the connections of the two threads that store executions."""

from __future__ import annotations

import threading
from typing import Any

from django.apps import AppConfig
from django.db.backends.signals import connection_created

STORE_THREADS = ("engine-database", "intake")  # names of threads that repeat the same few statements


class ExecutionsConfig(AppConfig):
    name = "executions"

    def ready(self) -> None:
        connection_created.connect(tune_store_threads, dispatch_uid="executions.tune")


def tune_store_threads(connection: Any, **_: Any) -> None:
    """Tune a new connection of a store thread (`Dialect.tune`); leave all other connections alone."""
    if threading.current_thread().name in STORE_THREADS:
        from executions.store import store

        store().tune()

"""An update while the release before runs: its migrations only add, and what runs goes on."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import psycopg
from django.db.migrations import AddField, AddIndex, CreateModel
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from harness.automations import AUTOMATIONS, make
from harness.installation import Installation
from tests.support.senders import Senders

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"
OURS = ("executions_", "automations_", "projects_")
TRIES = 5
TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgresql": "SELECT relname AS name FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition",
}


def test_every_migration_since_those_that_the_page_names_only_adds() -> None:
    graph = MigrationLoader(None).graph
    named = dict(re.findall(r"`(\w+)\.(\d{4})`", PAGE.read_text()))

    for (app, name), migration in graph.nodes.items():
        if app in named and name[:4] > named[app]:
            assert all(map(only_adds, migration.operations)), f"{app}.{name} stops the release before it"
    assert set(named) == {"executions", "automations", "projects"}


def only_adds(operation: Operation) -> bool:
    """Return whether code that knows nothing of the operation goes on beside it."""
    if isinstance(operation, AddField):
        return operation.field.null or operation.field.has_db_default()
    return isinstance(operation, (CreateModel, AddIndex))


def test_web_server_and_cluster_go_on_while_the_next_release_migrates(installation: Installation) -> None:
    installation.start()
    made = make(installation, AUTOMATIONS)
    paused = made.start("wait")
    with Senders(made) as senders:
        migrate_to_the_next_release(installation)
        senders.get_on()
        old = installation.cluster
        installation.start_cluster()
        assert old and old.terminate() == 0
        senders.get_on()
    senders.check(others=[paused])
    assert installation.why_not_ready() == ""
    assert installation.get("/login/")[0] == 200


def migrate_to_the_next_release(installation: Installation) -> None:
    """Do to each table what a later release may do, and note a migration that this one does not know."""
    tables = [row["name"] for row in installation.query(TABLES[installation.backend])]
    for table in (table for table in tables if table.startswith(OURS)):
        run(installation, f"ALTER TABLE {table} ADD COLUMN of_the_next integer NULL")
        run(installation, f"ALTER TABLE {table} ADD COLUMN another_of_the_next integer NOT NULL DEFAULT 0")
    run(installation, "CREATE TABLE executions_next (id integer PRIMARY KEY)")
    run(installation, "CREATE INDEX next_of_engines ON executions_engine (of_the_next)")
    run(installation, "INSERT INTO django_migrations (app, name, applied) VALUES"
        " ('executions', '9999_next', CURRENT_TIMESTAMP)")  # fmt: skip


def run(installation: Installation, sql: str) -> None:
    """Run a statement, again when it was the victim of a deadlock with what runs beside it."""
    for _ in range(TRIES):
        with suppress(psycopg.errors.DeadlockDetected):
            installation.query(sql)
            return
    raise AssertionError(f"a deadlock {TRIES} times: {sql}")

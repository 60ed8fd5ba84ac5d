"""Weekly partitions of the growing tables, on PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from automations.models import Automation
from executions.housekeeping import retention
from executions.models import Execution, Receipt, RetentionRun, StepRun
from executions.states import Status
from executions.store import partitions
from executions.store.partitions import EXECUTIONS, PARTITIONED, WEEK, make_weeks, partitions_of, week_of
from harness.databases import PostgresqlDatabase
from harness.installation import Installation
from projects.ids import first_id_at, id_at
from projects.models import Organization
from tests.support.api import make_step

postgresql_only = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no partitions")

type MakeExecution = Callable[..., Execution]

LATER = timedelta(days=91)


@pytest.fixture
def week(db: None) -> datetime:
    """Return a week to come that has partitions of its own, and no other week near it."""
    week = week_of(timezone.now()) + 10 * WEEK
    make_weeks(week)
    return week


@pytest.fixture
def make_then(make_execution: MakeExecution, week: datetime) -> MakeExecution:
    """Return a function that stores an execution of that week, with its step runs."""

    def make(**fields: Any) -> Execution:
        execution = make_execution(**{"id": id_at(week + timedelta(days=3)), "status": Status.SUCCESS, **fields})
        make_step(execution, "fetch")
        return execution

    return make


def rows_in(table: str, row: uuid.UUID) -> str:
    """Return the partition that holds a row."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT tableoid::regclass::text FROM {table} WHERE {PARTITIONED[table]} = %s", [row])
        return str(cursor.fetchone()[0])


def remove_after(week: datetime) -> RetentionRun:
    run = retention.begin()
    retention.perform(run, now=week + WEEK + LATER)
    return run


def label_of(week: datetime) -> str:
    return "{}w{:02}".format(*week.isocalendar())


def starts_of(table: str) -> set[uuid.UUID | None]:
    return {partition.start for partition in partitions_of(table)}


@postgresql_only
def test_every_growing_table_has_this_week_and_two_ahead(db: None) -> None:
    this_week = week_of(timezone.now())
    for table in PARTITIONED:
        for number in range(3):
            moment = first_id_at(this_week + number * WEEK)
            assert any(
                (part.start is None or part.start <= moment) and moment < part.end for part in partitions_of(table)
            )


@postgresql_only
def test_the_next_weeks_are_made_in_time(db: None) -> None:
    in_time = timezone.now() + 2 * WEEK

    assert len(make_weeks(in_time)) == 2 * len(PARTITIONED)
    assert make_weeks(in_time) == []
    for table in PARTITIONED:
        assert first_id_at(week_of(in_time) + 2 * WEEK) in starts_of(table)


@postgresql_only
def test_a_week_is_dropped_whole_when_nobody_keeps_it(make_then: MakeExecution, week: datetime) -> None:
    execution = make_then()
    assert rows_in("executions_execution", execution.pk) == rows_in("executions_steprun", execution.pk).replace(
        "steprun", "execution"
    )

    run = remove_after(week)

    assert (run.executions, run.is_complete) == (0, True)
    assert {f"{table}_{label_of(week)}" for table in PARTITIONED} <= set(run.partitions.split(", "))
    assert not Execution.objects.exists() and not StepRun.objects.exists()
    assert all(first_id_at(week) not in starts_of(table) for table in PARTITIONED)
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)", [f"executions_execution_{label_of(week)}"])
        assert cursor.fetchone() == (None,)


@postgresql_only
@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING, Status.PAUSED])
def test_a_week_stays_while_something_in_it_has_not_ended(
    make_then: MakeExecution, week: datetime, status: Status
) -> None:
    ended, still_open = make_then(), make_then(status=status)

    run = remove_after(week)

    assert f"executions_execution_{label_of(week)}" not in run.partitions
    assert run.executions == 1
    assert list(Execution.objects.all()) == [still_open] and ended != still_open


@postgresql_only
def test_a_week_stays_while_another_organization_keeps_it(
    make_then: MakeExecution, week: datetime, make_automation: Callable[..., Automation], stranger: User
) -> None:
    keeper = Organization.objects.get(name="Other")
    Organization.objects.filter(pk=keeper.pk).update(keep_days=None, keep_payloads_days=None)
    project = keeper.projects.get()
    kept = make_then(automation=make_automation("Kept", project=project))
    make_then()

    run = remove_after(week)

    assert f"executions_execution_{label_of(week)}" not in run.partitions
    assert run.executions == 1
    assert list(Execution.objects.all()) == [kept]


@postgresql_only
def test_a_dry_run_names_the_weeks_and_drops_none(make_then: MakeExecution, week: datetime) -> None:
    make_then()
    before = {table: partitions_of(table) for table in PARTITIONED}

    run = retention.begin(is_dry_run=True)
    retention.perform(run, now=week + WEEK + LATER)

    assert f"executions_execution_{label_of(week)}" in run.partitions
    assert before == {table: partitions_of(table) for table in PARTITIONED}
    assert Execution.objects.count() == 1


@postgresql_only
def test_a_row_of_no_week_lies_in_default_and_is_found(make_execution: MakeExecution, week: datetime) -> None:
    gap = make_execution(id=id_at(week - WEEK))
    future = make_execution(id=id_at(week + 500 * WEEK))
    past = make_execution(id=id_at(datetime(1999, 1, 1, tzinfo=week.tzinfo)))

    assert rows_in("executions_execution", gap.pk) == rows_in("executions_execution", future.pk)
    assert rows_in("executions_execution", future.pk) == "executions_execution_default"
    assert list(Execution.objects.newest_first()) == [future, gap, past]
    assert Execution.objects.get(pk=future.pk).project_id == future.project_id


@postgresql_only
def test_rows_move_out_of_default_when_their_week_is_made(make_execution: MakeExecution, week: datetime) -> None:
    early = make_execution(id=id_at(week - WEEK))
    make_step(early, "fetch")

    make_weeks(week - WEEK)

    assert rows_in("executions_execution", early.pk).endswith(f"w{(week - WEEK).isocalendar()[1]:02}")
    assert rows_in("executions_steprun", early.pk) != "executions_steprun_default"


@postgresql_only
def test_a_week_of_which_too_much_lies_in_default_stays_there(
    make_execution: MakeExecution, week: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "MOVABLE", 0)
    early = make_execution(id=id_at(week - WEEK))

    make_weeks(week - WEEK)

    assert rows_in("executions_execution", early.pk) == "executions_execution_default"
    assert first_id_at(week - WEEK) not in starts_of("executions_execution")
    assert first_id_at(week - WEEK) in starts_of("executions_steprun")


@postgresql_only
def test_what_was_taken_off_but_not_dropped_goes_with_the_next_round(db: None, week: datetime) -> None:
    name = partitions_of("executions_receipt")[-1].name
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE executions_receipt DETACH PARTITION {name}")

    partitions.drop_detached()

    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)", [name])
        assert cursor.fetchone() == (None,)
    assert Receipt.objects.count() == 0


def test_a_filled_installation_becomes_partitioned_with_every_row_and_index(
    prepared: Installation, postgresql_server: str, tmp_path: Path
) -> None:
    database = PostgresqlDatabase(postgresql_server)
    try:
        installation = prepared.copy(tmp_path, database)
        installation.manage("migrate", "-v", "0", "executions", "0002")
        fill(database)
        before = {table: sorted(map(str, database.query(f"SELECT * FROM {table}"))) for table in EXECUTIONS}
        indexes = index_names(database)

        installation.manage("migrate", "-v", "0", "executions", "0003")
        after = {table: sorted(map(str, database.query(f"SELECT * FROM {table}"))) for table in EXECUTIONS}
        assert index_names(database) == indexes
        installation.manage("migrate", "-v", "0")

        columns = "status, organization_id"
        assert len(database.query(f"SELECT {columns} FROM executions_execution")) == 3
        assert {table: rows for table, rows in after.items() if table != "executions_execution"} == {
            table: rows for table, rows in before.items() if table != "executions_execution"
        }
        lie = database.query("SELECT id::text, tableoid::regclass::text AS t FROM executions_execution ORDER BY id")
        assert [row["t"].rpartition("_2")[0] or row["t"] for row in lie] == [
            "executions_execution_before", "executions_execution_before", "executions_execution_default",
        ]  # fmt: skip
        assert database.query("SELECT relkind FROM pg_class WHERE relname = 'executions_receipt'") == [{"relkind": "p"}]
        installation.manage("makemigrations", "--check", "--dry-run")
    finally:
        database.drop()


def index_names(database: PostgresqlDatabase) -> list[dict[str, Any]]:
    """Return names and definitions of the indexes of the partitioned tables themselves."""
    return database.query(
        "SELECT indexname, replace(indexdef, ' ONLY ', ' ') AS definition FROM pg_indexes WHERE tablename = ANY(%s)"
        " ORDER BY indexname",
        [list(PARTITIONED)],
    )


def fill(database: PostgresqlDatabase) -> None:
    """Store executions of last year, of now, and of a clock that is far ahead."""
    for moment in (timezone.now() - timedelta(days=365), timezone.now(), timezone.now() + timedelta(days=3650)):
        database.query(
            "INSERT INTO executions_execution (id, organization_id, project_id, automation_id, version_id, kind,"
            " status, lane, reason_code, reason, attempt, claim, deaths, run_at, time_limit_s, ran_ms, steps,"
            " connectors, is_counted, rev)"
            " SELECT id, id, id, id, id, 0, 3, 1, '', '', 1, 1, 0, now(), 300, 0, 1, '', true, 1"
            " FROM (SELECT %s::uuid AS id) r",
            [id_at(moment)],
        )
    database.query(
        "INSERT INTO executions_steprun (execution_id, attempt, key, iteration, organization_id, position, status,"
        " connector, action, title, tries, started_at, input, input_bytes, output_bytes, error_code, error, is_outside)"
        " SELECT id, 0, 'trigger', '', id, 0, 3, 'http', 'request', '', 1, now(), '{}', 2, 0, '', '', false"
        " FROM executions_execution"
    )
    database.query(
        "INSERT INTO executions_payload (execution_id, attempt, key, iteration, side, organization_id, body)"
        " SELECT id, 0, 'trigger', '', 'input', id, '{}' FROM executions_execution"
    )

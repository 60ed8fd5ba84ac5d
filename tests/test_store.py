"""What the store's statements do to the database beyond their rows."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from automations.models import Automation
from executions import encoding, intake
from executions.live import find_trigger, new_execution
from executions.models import Engine, Execution, Payload, Receipt, ReceiptDay, StepRun
from executions.states import Lane, Status, StepStatus
from executions.store import store
from executions.store.leases import STALE_AFTER_S
from executions.store.rows import Claimed, DeliveryId, Move, StepRecord
from executions.store.throttle import JOIN_MOST
from projects.ids import id_at, made_at, new_id
from projects.models import Organization, UsageMonth
from tests.support.cut import CutAtCommit, end_connections

RUNNING = 120


@pytest.mark.django_db(transaction=True)
def test_nothing_is_stored_when_a_later_statement_of_a_pipeline_fails() -> None:
    engine_id = new_id()

    def register_twice() -> None:
        with store().pipeline():
            store().register(engine_id, "here", "boot", 1)
            store().register(engine_id, "here", "boot", 2)

    with pytest.raises(IntegrityError):
        register_twice()

    assert not Engine.objects.exists()
    with store().pipeline():
        store().register(engine_id, "here", "boot", 3)
    assert Engine.objects.get().pid == 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connection to lose")
def test_what_was_committed_is_accepted_once_when_the_answer_is_lost(automation: Automation) -> None:
    assert automation.trigger
    live = find_trigger(automation.trigger.uid)
    assert live
    new = new_execution(live, {"body": {}})
    with cut_at_commit() as way:
        answers = intake.write([new])

    assert way.is_cut
    assert answers == [new.id]
    assert Execution.objects.count() == 1
    assert UsageMonth.objects.get().reserved == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connection to lose")
def test_a_request_is_accepted_when_the_connection_died_before_it(automation: Automation) -> None:
    assert automation.trigger
    uid = automation.trigger.uid
    assert find_trigger(uid)  # so that there is a connection to lose
    end_connections()
    live = find_trigger(uid)
    assert live
    new = new_execution(live, {"body": {}})
    end_connections()

    assert intake.write([new]) == [new.id]
    assert Execution.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_what_arrives_before_a_transaction_has_begun_is_accepted_by_it(automation: Automation) -> None:
    assert automation.trigger
    live = find_trigger(automation.trigger.uid)
    assert live
    first, later = new_execution(live, {"body": 1}), new_execution(live, {"body": 2})

    assert intake.write([first], lambda: [later]) == [first.id, later.id]
    assert set(Execution.objects.values_list("id", flat=True)) == {first.id, later.id}
    assert UsageMonth.objects.get().reserved == 2


@pytest.mark.django_db
def test_a_claim_brings_whole_payloads_when_they_are_large(make_execution: Callable[..., Execution]) -> None:
    execution = make_execution()
    engine_id, large = new_id(), encoding.dumps("x" * encoding.ROW_LIMIT)
    with store().transaction():
        claimed = store().claim(engine_id, 1)[0]
        steps = [record(claimed, key="a", output=large), record(claimed, key="b", input=large)]
        store().write(engine_id, 0, steps, [])
        store().unregister(engine_id)
    run = StepRun.objects.create(
        execution=execution, attempt=0, key="trigger", organization_id=execution.organization_id, position=0,
        status=StepStatus.SUCCESS, connector="http", action="request", started_at=made_at(execution.id),
        input=large[: encoding.EXCERPT], input_bytes=len(large),
    )  # fmt: skip
    Payload.objects.create(
        execution=execution, attempt=0, key=run.key, side="input", organization_id=run.organization_id, body=large
    )

    with store().transaction():
        again = store().claim(new_id(), 1)[0]

    assert again.payload == large
    assert {key: done.output for (key, _), done in again.done.items()} == {"a": large, "b": "{}"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no statistics that mislead it")
def test_no_row_is_read_again_for_each_that_an_engine_writes(make_execution: Callable[..., Execution]) -> None:
    engine_id = new_id()
    for _ in range(RUNNING):
        make_execution()
    store().tune()
    try:
        with plans() as seen, store().pipeline():
            claimed = store().claim(engine_id, RUNNING)
            store().write(engine_id, 0, [record(one) for one in claimed], [])
        with plans() as seen_at_the_end, store().pipeline():
            moves = [Move(execution=one, target=Status.SUCCESS) for one in claimed]
            assert not store().write(engine_id, 0, [], moves)
    finally:
        connection.close()  # with all that it was tuned to

    assert len(claimed) == RUNNING
    rows = [row for plan in seen + seen_at_the_end for row in removed(plan)]
    assert len(seen) > 3
    assert max(rows, default=0) <= RUNNING


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no statistics that mislead it")
def test_the_throttled_lane_is_looked_at_without_reading_its_line(
    make_execution: Callable[..., Execution],
) -> None:
    for _ in range(RUNNING):
        execution = make_execution(lane=Lane.THROTTLED)
    store().make_paces([execution.organization_id])
    store().tune()
    try:
        with plans() as seen, store().transaction():
            ready = store().ready_organizations()()
    finally:
        connection.close()

    assert [row[0] for row in ready] == [execution.organization_id]
    assert max(read for plan in seen for read in rows_read(plan)) < 10


@pytest.mark.django_db(transaction=True)
def test_a_claim_does_not_pass_by_all_that_waits_for_later(make_execution: Callable[..., Execution]) -> None:
    def claim() -> int:
        with steps_of_the_database() as steps, store().pipeline():
            assert not store().claim(new_id(), 10)
            assert not store().may_claim(1.0)
        return sum(steps)

    one = make_execution(status=Status.PAUSED, run_at=timezone.now() + timedelta(days=1))
    few = [claim() for _ in range(2)][-1]
    values = {field.attname: getattr(one, field.attname) for field in Execution._meta.concrete_fields}
    Execution.objects.bulk_create(Execution(**values | {"id": new_id()}) for _ in range(5000))

    assert claim() <= 2 * few


@pytest.mark.django_db
def test_a_claim_takes_the_sync_lane_first_and_throttled_starts_on_top(
    make_execution: Callable[..., Execution],
) -> None:
    direct = [make_execution() for _ in range(3)]
    sync = make_execution(lane=Lane.SYNC, run_at=timezone.now() - timedelta(seconds=1))
    throttled = make_execution(lane=Lane.THROTTLED)
    store().make_paces([throttled.organization_id])

    with store().transaction():
        claimed = store().claim(new_id(), 2)

    assert {one.id for one in claimed} == {sync.pk, direct[0].pk, throttled.pk}


@pytest.mark.django_db(transaction=True)
def test_a_line_that_throttles_no_longer_is_left_in_parts_and_at_the_direct_pace(
    automation: Automation, make_execution: Callable[..., Execution]
) -> None:
    organization = automation.organization
    Organization.objects.update(direct_limit=900)
    Automation.objects.update(is_throttled=True)
    one = make_execution(lane=Lane.THROTTLED)
    values = {field.attname: getattr(one, field.attname) for field in Execution._meta.concrete_fields}
    Execution.objects.bulk_create(Execution(**values | {"id": new_id()}) for _ in range(JOIN_MOST))
    assert store().left_line() is None
    Automation.objects.update(is_throttled=False)

    parts = 0
    while line := store().left_line():
        with store().transaction():
            store().join_direct(*line)
        parts += 1

    assert (parts, line) == (2, None)
    direct = Execution.objects.filter(organization=organization, lane=Lane.DIRECT)
    assert direct.filter(reason_code="").count() == 900
    assert direct.filter(reason_code="direct_limit", run_at__gt=timezone.now() - timedelta(minutes=1)).count() == 101


@pytest.mark.django_db(transaction=True)
def test_a_machine_whose_clock_is_ahead_accepts_what_starts_at_once(automation: Automation) -> None:
    assert automation.trigger
    live = find_trigger(automation.trigger.uid)
    assert live
    ahead = id_at(timezone.now() + timedelta(seconds=30))

    intake.write([replace(new_execution(live, {"body": {}}), id=ahead)])

    assert Execution.objects.get(pk=ahead).run_at <= timezone.now()


@pytest.mark.django_db(transaction=True)
def test_no_execution_gets_more_time_than_its_organization_allows_now(automation: Automation) -> None:
    assert automation.trigger
    live = find_trigger(automation.trigger.uid)
    assert live
    Organization.objects.update(time_limit_s=20)  # after the trigger was looked up

    intake.write([new_execution(live, {"body": {}})])

    assert Execution.objects.get().time_limit_s == 20


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connection to lose")
def test_a_duplicate_is_counted_once_when_the_answer_is_lost(automation: Automation) -> None:
    assert automation.trigger
    live = find_trigger(automation.trigger.uid)
    assert live
    delivery = DeliveryId(key="webhook-id:1", fingerprint="same", must_match=False)
    intake.write([new_execution(live, {"body": {}}, delivery)])

    with cut_at_commit() as way:
        [answer] = intake.write([new_execution(live, {"body": {}}, delivery)])

    assert way.is_cut
    assert isinstance(answer, intake.Duplicate)
    assert Receipt.objects.get().outcome == "duplicate"
    assert dict(ReceiptDay.objects.values_list("outcome", "count")) == {"executed": 1, "duplicate": 1}


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connection to lose")
def test_a_connection_that_died_without_a_word_is_noticed() -> None:
    connection.ensure_connection()
    with socket.socket(fileno=os.dup(connection.connection.fileno())) as wire:
        assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert 0 < wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) < 60
        assert 0 < wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) < 60_000


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's lock is the file's")
def test_who_stands_still_in_a_transaction_keeps_its_rows_from_nobody_for_ever() -> None:
    engine_id = new_id()
    store().register(engine_id, "here", "boot", 1)
    store().tune()
    parameters = connection.get_connection_params()
    try:
        connection.set_autocommit(False)
        store().beat(engine_id, running=0, rss_kb=0, is_stopping=False)
        with psycopg.connect(**{key: parameters[key] for key in ("dbname", "user", "host", "port")}) as peer:
            peer.execute(f"SET statement_timeout = '{STALE_AFTER_S + 5}s'")
            peer.execute("DELETE FROM executions_engine WHERE id = %s", [engine_id])
    finally:
        connection.close()

    assert not Engine.objects.exists()


def record(execution: Claimed, *, key: str = "a", input: str = "{}", output: str = "{}") -> StepRecord:
    at = made_at(execution.id)
    return StepRecord(
        execution=execution, key=key, iteration="", position=1, status=StepStatus.SUCCESS, connector="transform",
        action="fields", title="A", tries=1, started_at=at, finished_at=at, input=input, output=output,
    )  # fmt: skip


@contextmanager
def cut_at_commit() -> Iterator[CutAtCommit]:
    """Connect this thread through what loses the answer to its next commit."""
    settings = connection.settings_dict
    address = {key: settings[key] for key in ("HOST", "PORT")}
    connection.close()
    with CutAtCommit(settings["HOST"], int(settings["PORT"])) as way:
        settings |= {"HOST": "127.0.0.1", "PORT": way.port}
        try:
            yield way
        finally:
            connection.close()
            settings |= address


@contextmanager
def plans() -> Iterator[list[Any]]:
    """Yield what becomes the plans of the statements that this connection runs, with what they did."""
    found: list[Any] = []
    wire = connection.connection
    for setting in ("log_min_duration = 0", "log_analyze = on", "log_format = json", "log_nested_statements = on"):
        wire.execute(f"LOAD 'auto_explain'; SET auto_explain.{setting}; SET client_min_messages = log")

    def take(notice: Any) -> None:
        _, _, plan = notice.message_primary.partition("plan:\n")
        found.append(json.loads(plan)["Plan"])

    wire.add_notice_handler(take)
    yield found
    wire.remove_notice_handler(take)
    wire.execute("SET client_min_messages = notice")


@contextmanager
def steps_of_the_database() -> Iterator[list[int]]:
    """Yield what becomes the pages that PostgreSQL looks at, or the instructions that SQLite executes, in hundreds."""
    steps: list[int] = []
    if connection.vendor == "sqlite":
        connection.connection.set_progress_handler(lambda: steps.append(1), 100)
        yield steps
        connection.connection.set_progress_handler(None, 0)
        return
    connection.ensure_connection()
    with plans() as seen:
        connection.connection.execute("SET auto_explain.log_buffers = on")
        yield steps
    steps += [plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in seen]


def rows_read(plan: dict[str, Any]) -> Iterator[float]:
    """Return how many rows each part of a plan gave."""
    yield plan["Actual Rows"] * plan["Actual Loops"]
    for part in plan.get("Plans", []):
        yield from rows_read(part)


def removed(plan: dict[str, Any]) -> Iterator[int]:
    """Return how many rows each part of a plan has read for nothing."""
    yield plan.get("Rows Removed by Join Filter", 0)
    for part in plan.get("Plans", []):
        yield from removed(part)

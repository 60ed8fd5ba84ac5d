"""What the store's statements do to the database beyond their rows."""

from __future__ import annotations

import os
import socket
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from automations.models import Automation
from executions import sealed_json
from executions.models import Engine, Execution, Payload, StepRun
from executions.states import Lane, Status, StepStatus
from executions.store import store
from executions.store.leases import STALE_AFTER_S
from executions.store.rows import Unloaded, Wanted
from executions.store.shares import FIRST
from executions.store.throttle import JOIN_MOST
from projects.ids import made_at, new_id
from projects.models import Organization
from tests.support.records import record

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


@pytest.mark.django_db
def test_a_claim_brings_whole_payloads_when_they_are_large(make_execution: Callable[..., Execution]) -> None:
    execution = make_execution()
    engine_id, large = new_id(), sealed_json.dumps("x" * sealed_json.ROW_LIMIT)
    with store().transaction():
        claimed = store().claim(engine_id, Wanted(limit=1)).executions[0]
        steps = [record(claimed, key="a", output=large), record(claimed, key="b", input=large)]
        store().write(engine_id, 0, steps, [])
        store().unregister(engine_id)
    run = StepRun.objects.create(
        execution=execution, attempt=0, key="trigger", organization_id=execution.organization_id, position=0,
        status=StepStatus.SUCCESS, connector="http", action="request", started_at=made_at(execution.id),
        input=large[: sealed_json.EXCERPT], input_bytes=len(large),
    )  # fmt: skip
    Payload.objects.create(
        execution=execution, attempt=0, key=run.key, side="input", organization_id=run.organization_id, body=large
    )

    with store().transaction():
        again = store().claim(new_id(), Wanted(limit=1)).executions[0]

    assert again.payload == Unloaded(len(large))
    assert {key: done.output for (key, _), done in again.done.items()} == {"a": Unloaded(len(large)), "b": "{}"}
    texts = [
        store().large_text(again.id, attempt, key) for attempt, key in ((0, "trigger"), (1, "a"), (1, "b"), (1, "c"))
    ]
    assert texts == [large, large, "{}", ""]


@pytest.mark.django_db
def test_a_claim_takes_the_sync_lane_first_and_throttled_starts_on_top(
    make_execution: Callable[..., Execution],
) -> None:
    direct = [make_execution() for _ in range(3)]
    sync = make_execution(lane=Lane.SYNC, run_at=timezone.now() - timedelta(seconds=1))
    throttled = make_execution(lane=Lane.THROTTLED)
    store().make_paces([throttled.organization_id])

    with store().transaction():
        claimed = store().claim(new_id(), Wanted(limit=2)).executions

    assert {one.id for one in claimed} == {sync.pk, direct[0].pk, throttled.pk}


@pytest.mark.django_db
def test_throttled_starts_are_divided_too_when_there_is_room_for_few(
    make_execution: Callable[..., Execution],
) -> None:
    organizations = [Organization.objects.create(name=f"Number {number}", throttle_rate=50) for number in range(3)]
    for organization in organizations:
        for _ in range(4):
            make_execution(organization_id=organization.pk, lane=Lane.THROTTLED)
    store().make_paces([organization.pk for organization in organizations])

    with store().transaction():
        claimed = store().claim(new_id(), Wanted(limit=3)).executions

    assert Counter(one.organization_id for one in claimed) == {organization.pk: 1 for organization in organizations}


@pytest.mark.django_db
def test_an_organization_that_holds_more_slots_than_the_others_gets_none_of_the_next(
    make_execution: Callable[..., Execution],
) -> None:
    holder, newcomer = make_execution().organization_id, new_id()
    waiting = [make_execution(organization_id=newcomer).pk for _ in range(3)]
    make_execution()

    with store().transaction():
        claim = store().claim(new_id(), Wanted(limit=3, held={holder: 5}))

    assert {one.id for one in claim.executions} == set(waiting)
    assert claim.has_more


@pytest.mark.django_db
def test_what_one_organization_leaves_of_its_part_another_one_gets_in_the_same_claim(
    make_execution: Callable[..., Execution],
) -> None:
    few = make_execution(organization_id=new_id()).organization_id
    many = make_execution().organization_id
    for _ in range(20):
        make_execution()

    with store().transaction():
        claim = store().claim(new_id(), Wanted(limit=10))

    assert Counter(one.organization_id for one in claim.executions) == {few: 1, many: 9}
    assert claim.has_more


@pytest.mark.django_db
def test_an_organization_gets_no_more_than_the_slots_it_may_have(make_execution: Callable[..., Execution]) -> None:
    organization = make_execution().organization_id
    for _ in range(4):
        make_execution()

    with store().transaction():
        claim = store().claim(new_id(), Wanted(limit=10, held={organization: 2}, most=4))

    assert len(claim.executions) == 2
    assert claim.has_more


@pytest.mark.django_db
def test_a_newcomer_is_found_behind_many_that_hold_all_they_may(make_execution: Callable[..., Execution]) -> None:
    holders = sorted(make_execution(organization_id=new_id()).organization_id for _ in range(120))
    newcomer = make_execution(organization_id=uuid.UUID(int=2**128 - 1))

    with store().transaction():
        claim = store().claim(new_id(), Wanted(limit=5, held=dict.fromkeys(holders, 1), most=1))

    assert [one.id for one in claim.executions] == [newcomer.pk]


@pytest.mark.django_db
def test_turns_go_round_when_a_claim_is_smaller_than_the_number_of_organizations(
    make_execution: Callable[..., Execution],
) -> None:
    organizations = {make_execution(organization_id=new_id()).organization_id for _ in range(60)}
    for organization in organizations:
        make_execution(organization_id=organization)
    taken, turn = Counter[uuid.UUID](), FIRST

    for _ in range(15):
        with store().transaction():
            claim = store().claim(new_id(), Wanted(limit=4), store().look(turn)())
        taken.update(one.organization_id for one in claim.executions)
        turn = claim.turn_of

    assert taken == dict.fromkeys(organizations, 1)


@pytest.mark.django_db
@pytest.mark.parametrize("fields", [{"status": Status.PAUSED}, {"reason_code": "direct_limit"}])
def test_what_waited_for_a_time_is_claimed_once_it_has_come_and_not_before(
    make_execution: Callable[..., Execution], fields: dict[str, Any]
) -> None:
    now = timezone.now()
    ripe = make_execution(run_at=now - timedelta(minutes=1), is_due=False, **fields)
    later = make_execution(run_at=now + timedelta(minutes=1), is_due=False, **fields)

    with store().transaction():
        claim = store().claim(new_id(), Wanted(limit=10))

    assert [one.id for one in claim.executions] == [ripe.pk]
    assert claim.next_in_s == pytest.approx(60, abs=60)
    assert not Execution.objects.get(pk=later.pk).is_due


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
    assert store().unthrottled_line() is None
    Automation.objects.update(is_throttled=False)

    parts = 0
    while line := store().unthrottled_line():
        with store().transaction():
            store().join_direct(*line)
        parts += 1

    assert (parts, line) == (2, None)
    direct = Execution.objects.filter(organization=organization, lane=Lane.DIRECT)
    assert direct.filter(reason_code="").count() == 900
    assert direct.filter(reason_code="direct_limit", run_at__gt=timezone.now() - timedelta(minutes=1)).count() == 101


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

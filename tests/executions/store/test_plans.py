"""That statements read what they need, however much else there is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from executions.models import Execution
from executions.states import Lane, Status
from executions.store import store
from executions.store.rows import Move, Wanted
from projects.ids import new_id
from tests.support.plans import plans, removed, rows_read, steps_of_the_database
from tests.support.records import record

RUNNING = 120


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no statistics that mislead it")
def test_no_row_is_read_again_for_each_that_an_engine_writes(make_execution: Callable[..., Execution]) -> None:
    engine_id = new_id()
    for _ in range(RUNNING):
        make_execution()
    store().tune()
    try:
        with plans() as seen, store().pipeline():
            claimed = store().claim(engine_id, Wanted(limit=RUNNING)).executions
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
            assert not store().claim(new_id(), Wanted(limit=10)).executions
            assert not store().look(waited_s=1.0)().organizations
        return sum(steps)

    one = make_execution(status=Status.PAUSED, run_at=timezone.now() + timedelta(days=1))
    store().tune()
    try:
        few = [claim() for _ in range(2)][-1]
        values = {field.attname: getattr(one, field.attname) for field in Execution._meta.concrete_fields}
        Execution.objects.bulk_create(
            Execution(**values | {"id": new_id(), "organization_id": new_id() if number % 2 else one.organization_id})
            for number in range(6000)
        )
        many = claim()
    finally:
        connection.close()  # with all that it was tuned to

    assert many <= 2 * few


@pytest.mark.django_db(transaction=True)
def test_a_claim_finds_one_organizations_execution_however_many_of_another_wait(
    make_execution: Callable[..., Execution],
) -> None:
    def claim() -> int:
        other = make_execution(organization_id=new_id())
        with steps_of_the_database() as steps, store().pipeline():
            claimed = store().claim(new_id(), Wanted(limit=4)).executions
        assert other.id in {one.id for one in claimed}
        return sum(steps)

    one, _ = make_execution(), [make_execution() for _ in range(20)]
    store().tune()
    try:
        few = [claim() for _ in range(2)][-1]
        values = {field.attname: getattr(one, field.attname) for field in Execution._meta.concrete_fields}
        values |= {"run_at": one.run_at - timedelta(hours=1)}
        Execution.objects.bulk_create(Execution(**values | {"id": new_id()}) for _ in range(6000))
        many = claim()
    finally:
        connection.close()

    assert many <= 2 * few

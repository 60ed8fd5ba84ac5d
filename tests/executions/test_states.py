from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import nullcontext

import pytest
from django.db import transaction

from executions import states
from executions.models import Execution
from executions.states import FINAL, ForbiddenMove, Status, check_move, counts
from executions.store import store
from executions.store.rows import Move, Wanted
from projects.ids import new_id
from projects.models import UsageDay

ALLOWED = {
    (Status.PENDING, Status.RUNNING),
    (Status.PENDING, Status.REJECTED),
    (Status.RUNNING, Status.PENDING),
    (Status.RUNNING, Status.PAUSED),
    (Status.RUNNING, Status.SUCCESS),
    (Status.RUNNING, Status.FAILED),
    (Status.RUNNING, Status.REJECTED),
    (Status.RUNNING, Status.PARTIALLY_EXECUTED),
    (Status.PAUSED, Status.RUNNING),
    (Status.PAUSED, Status.REJECTED),
    (Status.FAILED, Status.PENDING),
}
EVERY_PAIR = [(source, target) for source in Status for target in Status]


@pytest.mark.parametrize(("source", "target"), EVERY_PAIR, ids=lambda status: status.name)
def test_a_move_is_allowed_as_the_table_says(source: Status, target: Status) -> None:
    expected = nullcontext() if (source, target) in ALLOWED else pytest.raises(ForbiddenMove)

    with expected:
        check_move(source, target)


@pytest.mark.django_db
def test_an_engine_cannot_even_say_a_move_that_the_table_forbids(make_execution: Callable[..., Execution]) -> None:
    make_execution()
    with transaction.atomic():
        claimed = store().claim(new_id(), Wanted(limit=10)).executions[0]

    with pytest.raises(ForbiddenMove):
        Move(execution=claimed, target=Status.RUNNING)


def test_labels_are_the_seven_of_the_product() -> None:
    assert Status.labels == [
        "Pending", "Running", "Paused", "Success", "Failed", "Rejected", "Partially Executed",
    ]  # fmt: skip


@pytest.mark.parametrize("target", Status, ids=lambda status: status.name)
@pytest.mark.parametrize("is_counted", [False, True])
def test_an_execution_counts_once_at_its_first_final_status(target: Status, is_counted: bool) -> None:
    assert counts(target=target, is_counted=is_counted) is (target in FINAL and not is_counted)


@pytest.mark.django_db
@pytest.mark.parametrize("source", Status, ids=lambda status: status.name)
def test_only_a_claimable_execution_is_claimed(make_execution: Callable[..., Execution], source: Status) -> None:
    execution = make_execution(status=source)

    with transaction.atomic():
        claimed = store().claim(new_id(), Wanted(limit=10)).executions

    assert [one.id for one in claimed] == ([execution.id] if source in (Status.PENDING, Status.PAUSED) else [])


@pytest.mark.django_db
@pytest.mark.parametrize("target", sorted(states.MOVES[Status.RUNNING] - {Status.PENDING}), ids=lambda s: s.name)
@pytest.mark.parametrize("source", Status, ids=lambda status: status.name)
def test_an_engine_moves_only_what_it_runs(
    make_execution: Callable[..., Execution], source: Status, target: Status
) -> None:
    engine_id = new_id()
    execution = make_execution()
    with transaction.atomic():
        claimed = store().claim(engine_id, Wanted(limit=10)).executions[0]
    Execution.objects.filter(pk=execution.pk).update(status=source)

    with transaction.atomic():
        lost = store().write(engine_id, 0, [], [Move(execution=claimed, target=target)])

    execution.refresh_from_db()
    assert (execution.status == target and not lost) if source is Status.RUNNING else (lost == {execution.id})
    assert execution.status == (target if source is Status.RUNNING else source)


@pytest.mark.django_db
@pytest.mark.parametrize("target", sorted(FINAL), ids=lambda status: status.name)
def test_a_final_status_counts_and_a_second_one_does_not(
    make_execution: Callable[..., Execution], target: Status
) -> None:
    engine_id = new_id()
    execution = make_execution()

    for _ in range(2):
        with transaction.atomic():
            claimed = store().claim(engine_id, Wanted(limit=10)).executions[0]
            store().write(engine_id, 0, [], [Move(execution=claimed, target=target)])
        Execution.objects.filter(pk=execution.pk).update(status=Status.PENDING)

    assert [(day.status, day.count) for day in UsageDay.objects.all()] == [(target, 1)]


@pytest.mark.django_db
def test_a_stale_claim_changes_nothing_when_another_engine_took_over(
    make_execution: Callable[..., Execution],
) -> None:
    execution = make_execution()
    first, second = new_id(), new_id()
    with transaction.atomic():
        store().register(first, "here", "boot", 1)
        stale = store().claim(first, Wanted(limit=10)).executions[0]
        store().end_lease(first, if_stale=False)
        store().inherit(first, all_suspected=False)
        store().claim(second, Wanted(limit=10))

    with transaction.atomic():
        lost = store().write(first, 0, [], [Move(execution=stale, target=Status.SUCCESS)])

    execution.refresh_from_db()
    assert lost == {execution.id}
    assert (execution.status, execution.engine_id) == (Status.RUNNING, second)
    assert not UsageDay.objects.exists()


@pytest.mark.django_db
def test_claims_go_by_lane_then_due_time_then_id(make_execution: Callable[..., Execution]) -> None:
    direct_1, direct_2 = make_execution(), make_execution()
    sync = make_execution(lane=states.Lane.SYNC)
    throttled = make_execution(lane=states.Lane.THROTTLED)

    taken: list[uuid.UUID] = []
    for _ in range(4):
        with transaction.atomic():
            taken += [one.id for one in store().claim(new_id(), Wanted(limit=1)).executions]

    assert taken == [sync.id, direct_1.id, direct_2.id]
    assert throttled.id not in taken

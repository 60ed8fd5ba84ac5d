"""Cancel: what ends at once, what is asked to end, and what counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from executions.models import Execution, StepRun, stopping
from executions.models.stopping import AlreadyEnded
from executions.states import FINAL, Lane, Status, StepStatus
from executions.stop import Stop, cancelled_by
from executions.store import store
from executions.store.rows import Claimed, Move, Wanted
from projects.ids import new_id
from projects.models import UsageDay, UsageMonth, this_month
from tests.support.api import make_step

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]

BY_ADA = cancelled_by("ada")


def now_of(execution: Execution) -> Execution:
    return Execution.objects.get(pk=execution.pk)


def claim(limit: int = 10) -> tuple[Any, list[Claimed]]:
    engine_id = new_id()
    with transaction.atomic():
        store().register(engine_id, "here", "boot", 1)
        return engine_id, store().claim(engine_id, Wanted(limit=limit)).executions


def reserve(execution: Execution, amount: int = 1) -> UsageMonth:
    return UsageMonth.objects.create(organization_id=execution.organization_id, month=this_month(), reserved=amount)


def counted() -> int:
    return sum(day.count for day in UsageDay.objects.filter(status=Status.REJECTED))


@pytest.mark.parametrize("lane", Lane, ids=lambda lane: lane.name)
def test_what_has_not_started_ends_at_once_and_counts_nowhere(make_execution: MakeExecution, lane: Lane) -> None:
    execution = make_execution(lane=lane)
    month = reserve(execution, 3)

    assert stopping.stop(execution, BY_ADA) is Status.REJECTED

    stored = now_of(execution)
    assert (stored.state, stored.reason_code) == (Status.REJECTED, "cancelled")
    assert stored.reason == "Cancelled by ada before it started."
    assert stored.finished_at and stored.rev == execution.rev + 1
    month.refresh_from_db()
    assert (month.reserved, counted()) == (2, 0)
    assert not claim()[1]


def test_what_waits_for_another_worker_has_started_and_counts(make_execution: MakeExecution) -> None:
    execution = make_execution(started_at=timezone.now())
    month = reserve(execution)

    stopping.stop(execution, BY_ADA)

    month.refresh_from_db()
    assert (month.reserved, counted()) == (1, 1)
    assert now_of(execution).is_counted


def test_a_further_attempt_that_has_not_started_neither_counts_again_nor_gives_back(
    make_execution: MakeExecution,
) -> None:
    execution = make_execution(attempt=2, is_counted=True)
    month = reserve(execution)

    stopping.stop(execution, BY_ADA)

    month.refresh_from_db()
    assert (month.reserved, counted()) == (1, 0)


@pytest.mark.parametrize(
    ("error", "status", "place"),
    [("", StepStatus.REJECTED, "while it waited in"), ("http_503", StepStatus.FAILED, "before the next try of")],
)
def test_what_is_paused_ends_at_once_and_says_in_which_step(
    make_execution: MakeExecution, error: str, status: StepStatus, place: str
) -> None:
    later = timezone.now() + timedelta(days=20)
    execution = make_execution(status=Status.PAUSED, started_at=timezone.now(), run_at=later)
    fields = {"error_code": error, "error": error and "Answered 503.", "resume_at": later, "finished_at": None}
    make_step(execution, "wait", title="Wait", status=StepStatus.PAUSED, attempt=1, **fields)

    stopping.stop(execution, BY_ADA)

    assert now_of(execution).reason == f"Cancelled by ada {place} step “Wait”."
    run = StepRun.objects.get(execution_id=execution.pk, key="wait")
    assert (run.state, run.resume_at) == (status, None)
    assert run.finished_at
    assert run.error == ("Answered 503." if error else "The execution was stopped while this step waited.")
    assert counted() == 1


def test_what_runs_is_asked_once_and_goes_on_until_its_engine_has_read_it(make_execution: MakeExecution) -> None:
    execution = make_execution()
    engine_id, (claimed,) = claim()

    assert stopping.stop(execution, BY_ADA) is Status.RUNNING
    assert stopping.stop(execution, cancelled_by("eve")) is Status.RUNNING

    stored = now_of(execution)
    assert (stored.state, stored.is_stopping, stored.stop_reason) == (Status.RUNNING, True, "Cancelled by ada")
    (found,) = store().requests_to_stop(engine_id)()
    assert claimed.note_held(*found[1:]) and claimed.stop == Stop("cancelled", "Cancelled by ada")


def test_a_commit_of_its_steps_reads_the_request(make_execution: MakeExecution) -> None:
    execution = make_execution()
    engine_id, (claimed,) = claim()
    stopping.stop(execution, BY_ADA)

    with transaction.atomic():
        assert store().fenced(engine_id, [claimed])() == {execution.pk}

    assert claimed.stop == BY_ADA


def test_no_pause_outlives_a_request_that_came_before_it(make_execution: MakeExecution) -> None:
    execution = make_execution()
    engine_id, (claimed,) = claim()
    stopping.stop(execution, BY_ADA)
    pause = Move(execution=claimed, target=Status.PAUSED, resume_at=timezone.now() + timedelta(days=20))

    with transaction.atomic():
        store().write(engine_id, 0, [], [pause])

    (again,) = claim()[1]
    assert (again.id, again.stop) == (execution.pk, BY_ADA)


def test_recovery_hands_the_request_on(make_execution: MakeExecution) -> None:
    execution = make_execution()
    engine_id, _ = claim()
    stopping.stop(execution, BY_ADA)

    with transaction.atomic():
        store().end_lease(engine_id, if_stale=False)
        store().inherit(engine_id, all_suspected=False)

    (again,) = claim()[1]
    assert (again.id, again.stop) == (execution.pk, BY_ADA)


@pytest.mark.parametrize("status", sorted(FINAL), ids=lambda status: status.name)
def test_what_has_ended_stays_as_it_is(make_execution: MakeExecution, status: Status) -> None:
    execution = make_execution(status=status)

    with pytest.raises(AlreadyEnded) as refused:
        stopping.stop(execution, BY_ADA)

    assert refused.value.sentence == f"This execution has already ended: it is {status.label}."
    assert now_of(execution).rev == execution.rev


def test_a_second_cancel_changes_nothing(make_execution: MakeExecution) -> None:
    execution = make_execution()
    stopping.stop(execution, BY_ADA)
    ended = now_of(execution)

    assert stopping.stop(execution, cancelled_by("eve")) is Status.REJECTED

    assert (now_of(execution).rev, now_of(execution).reason) == (ended.rev, ended.reason)


def test_a_retry_begins_without_the_request_that_came_too_late(make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.FAILED, stop_code="cancelled", stop_reason="Cancelled by ada")

    execution.retry(None)

    assert (now_of(execution).stop_code, now_of(execution).stop_reason) == (None, None)


def test_an_attempt_that_is_over_is_not_cancelled_in_place_of_the_next_one(make_execution: MakeExecution) -> None:
    execution = make_execution(attempt=2)

    with pytest.raises(AlreadyEnded):
        stopping.stop(execution, BY_ADA, attempt=1)

    assert now_of(execution).state is Status.PENDING


def test_many_that_wait_end_in_bounded_rounds(make_execution: MakeExecution) -> None:
    ids = [make_execution(lane=lane).pk for lane in (*Lane, *Lane)]
    running = make_execution(status=Status.RUNNING)
    all_of_it = Execution.objects.filter(automation=running.automation)

    rounds = [stopping.stop_all(all_of_it, BY_ADA, limit=4) for _ in range(3)]

    assert rounds == [4, 3, 0]
    assert {now_of(one).state for one in Execution.objects.filter(pk__in=ids)} == {Status.REJECTED}
    assert now_of(running).is_stopping

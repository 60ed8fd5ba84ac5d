"""Cancel: what ends at once, what is asked to end, what counts, and what each race leaves behind."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from executions.models import Execution, StepRun, stopping
from executions.models.retry import RetryRefused
from executions.models.stopping import AlreadyEnded
from executions.states import FINAL, Lane, Status, StepStatus
from executions.stop import Stop, cancelled_by
from executions.store import store
from executions.store.rows import Claimed, Move, Wanted
from projects.ids import new_id
from projects.models import UsageDay, UsageMonth, this_month
from tests.support.api import Api, make_step, path_of

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]

BY_ADA = cancelled_by("ada")
AJAX = {"HX-Request": "true", "HX-Request-Type": "partial"}


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


# --- races: whoever comes first, one of the two outcomes holds, and nothing is left that nobody ends


def raced(*actions: Callable[[], Any]) -> list[Any]:
    """Do all at the same moment, each on a connection of its own; return their results."""
    start = Barrier(len(actions))

    def act(action: Callable[[], Any]) -> Any:
        try:
            start.wait()
            return action()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(actions)) as threads:
        return list(threads.map(act, actions))


def cancelled(execution: Execution) -> Status | str:
    try:
        return stopping.stop(execution, BY_ADA)
    except AlreadyEnded as refused:
        return refused.sentence


@pytest.mark.django_db(transaction=True)
def test_cancel_races_a_claim(make_execution: MakeExecution) -> None:
    executions = [make_execution() for _ in range(12)]

    (engine_id, claimed), *results = raced(claim, *(lambda one=one: cancelled(one) for one in executions))

    ran = {one.id for one in claimed}
    for execution, result in zip(executions, results, strict=True):
        stored = now_of(execution)
        assert result is (Status.RUNNING if execution.pk in ran else Status.REJECTED)
        assert (stored.state, stored.stop_code) == ((result, "cancelled") if execution.pk in ran else (result, None))
    assert {row[0] if connection.vendor == "postgresql" else store().to_uuid(row[0])
            for row in store().requests_to_stop(engine_id)()} == ran  # fmt: skip


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("target", [Status.SUCCESS, Status.FAILED, Status.PAUSED], ids=lambda status: status.name)
def test_cancel_races_the_end_and_the_pause(make_execution: MakeExecution, target: Status) -> None:
    executions = [make_execution() for _ in range(8)]
    engine_id, claimed = claim()
    resume_at = timezone.now() + timedelta(days=20) if target is Status.PAUSED else None

    def end() -> set[Any]:
        moves = [Move(execution=one, target=target, resume_at=resume_at) for one in claimed]
        with store().transaction():
            return store().write(engine_id, 0, [], moves)

    lost, *results = raced(end, *(lambda one=one: cancelled(one) for one in executions))

    assert not lost
    again = {one.id for one in claim()[1]}
    for execution, result in zip(executions, results, strict=True):
        stored = now_of(execution)
        match result:
            case Status.RUNNING:  # it came before: a pause ends at once, and what has ended stays
                assert stored.state is (Status.RUNNING if target is Status.PAUSED else target)
                assert (execution.pk in again) is (target is Status.PAUSED)
            case Status.REJECTED:
                assert target is Status.PAUSED and stored.state is Status.REJECTED
            case _:
                assert (stored.state, result) == (target, f"This execution has already ended: it is {target.label}.")


@pytest.mark.django_db(transaction=True)
def test_cancel_races_recovery(make_execution: MakeExecution) -> None:
    executions = [make_execution() for _ in range(8)]
    dead, _ = claim()

    def recover() -> None:
        with store().transaction():
            store().end_lease(dead, if_stale=False)
            store().inherit(dead, all_suspected=False)

    _, *results = raced(recover, *(lambda one=one: cancelled(one) for one in executions))

    again = {one.id: one.stop for one in claim()[1]}
    for execution, result in zip(executions, results, strict=True):
        assert again.get(execution.pk) == (BY_ADA if result is Status.RUNNING else None)
        assert now_of(execution).state is result


@pytest.mark.django_db(transaction=True)
def test_cancel_races_a_retry(make_execution: MakeExecution) -> None:
    executions = [make_execution(status=Status.FAILED, is_counted=True) for _ in range(6)]

    def retried(execution: Execution) -> str:
        try:
            now_of(execution).retry(None)
        except RetryRefused as refused:
            return refused.code
        return "retried"

    asked = [(lambda one=one: retried(one), lambda one=one: cancelled(one)) for one in executions]
    results = raced(*itertools.chain.from_iterable(asked))

    for execution, (first, second) in zip(executions, itertools.batched(results, 2), strict=True):
        assert first == "retried"
        expected = Status.REJECTED if second is Status.REJECTED else Status.PENDING
        assert (now_of(execution).state, now_of(execution).attempt) == (expected, 2)


# --- the button, and the API


def cancel_url(execution: Execution) -> str:
    return f"/projects/{execution.project_id}/executions/{execution.pk}/cancel/"


def test_the_button_cancels_and_says_so(make_execution: MakeExecution, builder: User, client: Client) -> None:
    execution = make_execution()
    client.force_login(builder)

    answer = client.post(cancel_url(execution), {"attempt": "1"}, headers=AJAX)

    assert "Cancelled by builder before it started." in answer.content.decode()
    assert "Cancelled. The execution has ended." in answer["HX-Trigger"]
    assert now_of(execution).state is Status.REJECTED


def test_the_button_works_without_scripts(make_execution: MakeExecution, builder: User, client: Client) -> None:
    execution = make_execution(status=Status.RUNNING)
    client.force_login(builder)

    answer = client.post(cancel_url(execution), follow=True)

    html = answer.content.decode()
    assert "The execution stops before its next step." in html and "Cancelled by builder" in html
    assert "Cancel execution" not in html


def test_the_button_says_what_had_happened_meanwhile(
    make_execution: MakeExecution, builder: User, client: Client
) -> None:
    execution = make_execution(status=Status.SUCCESS)
    client.force_login(builder)

    answer = client.post(cancel_url(execution), {"attempt": "1"}, headers=AJAX)

    assert "This execution has already ended: it is Success." in answer.content.decode()
    assert "HX-Trigger" not in answer


def test_cancel_is_not_for_others(make_execution: MakeExecution, stranger: User, client: Client) -> None:
    execution = make_execution()
    assert client.post(cancel_url(execution)).status_code == 302
    client.force_login(stranger)

    assert client.post(cancel_url(execution)).status_code == 404
    assert client.get(cancel_url(execution)).status_code == 405
    assert now_of(execution).state is Status.PENDING


def test_the_api_cancels(make_execution: MakeExecution, builder: User, stranger: User) -> None:
    waiting, running, ended = make_execution(), make_execution(status=Status.RUNNING), make_execution(status=3)
    api = Api(builder, waiting.organization_id)

    def path(one: Execution) -> str:
        return f"/v1/{path_of(one, '/cancel')}"

    answers = [api.ask("POST", path(one)) for one in (waiting, waiting, running, ended)]

    assert [answer.status_code for answer in answers] == [202, 202, 202, 409]
    shown = [(answer.json()["status"], answer.json()["is_stopping"]) for answer in answers[:3]]
    assert shown == [("rejected", False), ("rejected", False), ("running", True)]
    assert answers[3].json()["error"]["code"] == "already_ended"
    assert "it is Success" in answers[3].json()["error"]["message"]
    assert Api(stranger, waiting.organization_id).ask("POST", path(running)).status_code == 403
    assert api.ask("GET", path(running)).status_code == 405

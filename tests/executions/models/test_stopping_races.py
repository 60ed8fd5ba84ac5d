"""Cancel against a claim, an end, a pause, recovery and a retry: whoever comes first, nobody is left over."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from executions.models import Execution, stopping
from executions.models.retry import RetryRefused
from executions.models.stopping import AlreadyEnded
from executions.states import Status
from executions.store import store
from executions.store.rows import Move
from tests.executions.models.test_stopping import BY_ADA, claim, now_of

pytestmark = pytest.mark.django_db(transaction=True)

type MakeExecution = Callable[..., Execution]


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


def test_cancel_races_recovery(make_execution: MakeExecution) -> None:
    executions = [make_execution() for _ in range(8)]
    dead, _ = claim()

    def recover() -> None:
        with store().transaction():
            store().end_lease(dead, if_stale=False)
            store().inherit(dead, all_suspected=False)

    _, *results = raced(recover, *(lambda one=one: cancelled(one) for one in executions))

    with store().transaction():
        store().sweep()  # recovery leaves out the rows that a request had locked at that moment
    again = {one.id: one.stop for one in claim()[1]}
    for execution, result in zip(executions, results, strict=True):
        assert again.get(execution.pk) == (BY_ADA if result is Status.RUNNING else None)
        assert now_of(execution).state is result


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

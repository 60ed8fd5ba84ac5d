"""What one round of retention costs: as much as it does, however much there is and however often it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from automations.models import Automation
from executions.housekeeping import retention
from executions.models import Execution, RetentionRun
from executions.states import Status
from executions.store import partitions
from executions.store.partitions import WEEK, make_weeks, week_of
from projects.ids import id_at
from projects.models import Organization, Project
from tests.support.plans import steps_of_the_database
from tests.support.retention import ago

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]

FEW, MANY = 500, 5_000
sqlite_only = pytest.mark.skipif("connection.vendor != 'sqlite'", reason="counts the instructions of SQLite")
postgresql_only = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no partitions")


@pytest.fixture(autouse=True)
def kept(organization: Organization) -> Organization:
    """Let the organization keep all until a test says otherwise."""
    Organization.objects.update(keep_days=None, keep_payloads_days=None, keep_count=None)
    organization.refresh_from_db()
    return organization


def keep(**settings: int | None) -> None:
    Organization.objects.update(**settings)


def one_round(*, budget_s: float | None = 0) -> RetentionRun:
    run = retention.begin()
    retention.perform(run, budget_s=budget_s)
    return RetentionRun.objects.get(pk=run.pk)


def cost_of_a_round() -> int:
    """Return how many hundreds of instructions a round of one batch takes."""
    with steps_of_the_database() as steps:
        assert not one_round().is_complete
    return len(steps)


def make_many(like: Execution, count: int, *, since: datetime) -> None:
    """Store copies that were accepted one second after the other, and have ended."""
    values = {field.attname: getattr(like, field.attname) for field in Execution._meta.concrete_fields}
    values |= {"status": Status.SUCCESS}
    ids = [id_at(since + timedelta(seconds=number)) for number in range(count)]
    Execution.objects.bulk_create(Execution(**values | {"id": new}) for new in ids)


@sqlite_only
def test_a_round_that_goes_on_does_not_count_again_what_is_kept(
    make_execution: MakeExecution, make_automation: Callable[..., Automation], kept: Organization
) -> None:
    second = make_automation("Second", project=Project.objects.create(organization=kept, name="Second"))
    both = [make_execution(id=id_at(ago(100))), make_execution(id=id_at(ago(100)), automation=second)]

    costs: list[int] = []
    for count in (FEW, MANY):
        keep(keep_count=count)
        for like in both:
            make_many(like, count, since=ago(50))
        one_round()
        costs.append(cost_of_a_round())
        one_round(budget_s=None)

    assert costs[1] <= 1.5 * costs[0]


def test_a_number_that_was_raised_between_two_rounds_is_kept(make_execution: MakeExecution) -> None:
    make_many(make_execution(id=id_at(ago(100)), status=Status.SUCCESS), 200, since=ago(50))
    keep(keep_count=20)
    assert not one_round().is_complete
    left = Execution.objects.count()

    keep(keep_count=150)
    one_round(budget_s=None)

    assert left > 150
    assert Execution.objects.count() == 150


@sqlite_only
def test_a_later_round_does_not_look_at_the_payloads_that_the_ones_before_removed(
    make_execution: MakeExecution,
) -> None:
    make_many(make_execution(id=id_at(ago(100)), status=Status.SUCCESS), MANY, since=ago(50))
    keep(keep_payloads_days=30)
    one_round()
    early = cost_of_a_round()

    for _ in range(80):  # of 50 each
        one_round()

    assert cost_of_a_round() <= 3 * early  # a few pages more; the 4,000 removed would be thousands of steps


@sqlite_only
def test_one_that_does_not_end_makes_no_round_look_at_all_the_ones_after_it(make_execution: MakeExecution) -> None:
    waiting = make_execution(id=id_at(ago(100)), status=Status.PAUSED)
    keep(keep_payloads_days=30)
    costs: list[int] = []
    for count in (FEW, MANY):
        make_many(waiting, count, since=ago(90 - len(costs)))
        one_round(budget_s=None)
        costs.append(cost_of_a_round())
        assert one_round(budget_s=None).is_complete

    assert costs[1] <= 1.5 * costs[0]
    Execution.objects.filter(pk=waiting.pk).update(status=Status.SUCCESS)
    assert one_round(budget_s=None).payloads == 1


def test_payloads_of_one_that_ended_late_go_beside_a_backlog(make_execution: MakeExecution) -> None:
    late = make_execution(id=id_at(ago(100)), status=Status.PAUSED)
    keep(keep_payloads_days=30)
    make_many(late, 200, since=ago(50))
    one_round()
    Execution.objects.filter(pk=late.pk).update(status=Status.SUCCESS)

    for _ in range(20):
        one_round()

    assert not Execution.objects.filter(payloads_removed_at=None).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer at a time")
def test_what_somebody_retried_meanwhile_loses_its_payload_when_it_has_ended(
    make_execution: MakeExecution, builder: User
) -> None:
    execution = make_execution(id=id_at(ago(40)), status=Status.FAILED)
    make_many(execution, 3, since=ago(35))
    keep(keep_payloads_days=30)
    is_retried, may_commit = threading.Event(), threading.Event()

    def retry() -> None:
        with transaction.atomic():
            Execution.objects.get(pk=execution.pk).retry(builder)
            is_retried.set()
            may_commit.wait(30)
        connection.close()

    retrying = threading.Thread(target=retry)
    retrying.start()
    assert is_retried.wait(30)
    try:
        assert one_round(budget_s=None).payloads == 3
    finally:
        may_commit.set()
        retrying.join()

    Execution.objects.filter(pk=execution.pk).update(status=Status.SUCCESS)
    assert one_round(budget_s=None).payloads == 1


@postgresql_only
def test_a_round_whose_time_is_over_leaves_the_other_weeks_to_the_next(make_execution: MakeExecution) -> None:
    first = week_of(timezone.now()) + 10 * WEEK
    keep(keep_days=90)
    for number in range(2):
        make_weeks(first + number * WEEK)
        make_execution(id=id_at(first + number * WEEK + timedelta(days=1)), status=Status.SUCCESS)
    weeks = {part.name for part in partitions.partitions_of("executions_execution")}

    def left_after_a_round() -> int:
        run = retention.begin()
        retention.perform(run, budget_s=0, now=first + 2 * WEEK + timedelta(days=91))
        return len(weeks & {part.name for part in partitions.partitions_of("executions_execution")})

    assert [left_after_a_round() for _ in range(3)] == [len(weeks) - number for number in (1, 2, 3)]

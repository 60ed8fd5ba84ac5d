"""Which executions retention removes, and what else goes with them or after them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from automations.models import Automation, Trigger, Version
from executions.models import (
    Attempt,
    Delivery,
    Execution,
    Firing,
    Outcome,
    Payload,
    Receipt,
    ReceiptDay,
    StepRun,
)
from executions.states import FINAL, Status
from projects.ids import id_at, new_id
from projects.models import Organization, Project, UsageDay, UsageMonth, Variable, this_month
from tests.support.retention import ago, left, remove

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("compact", "kept")]

type MakeExecution = Callable[..., Execution]
type MakeOld = Callable[..., Execution]


@pytest.mark.parametrize("status", sorted(FINAL))
def test_an_execution_goes_with_all_it_holds_when_it_is_older_than_its_organization_keeps(
    make_old: MakeOld, status: Status
) -> None:
    old, young = make_old(90.1, status=status), make_old(89.9, status=status)
    Attempt.objects.create(
        execution_id=old.pk, number=1, organization_id=old.organization_id, version=old.version, status=Status.FAILED
    )
    Payload.objects.create(
        execution=old, attempt=1, key="fetch", side="output", organization_id=old.organization_id, body='"large"'
    )

    run = remove()

    assert left(old, young) == [False, True]
    assert [rows.objects.filter(execution=old).count() for rows in (StepRun, Attempt, Payload)] == [0, 0, 0]
    assert StepRun.objects.filter(execution=young).count() == 2
    assert (run.executions, run.is_complete, run.error) == (1, True, "")


@pytest.mark.parametrize("status", sorted(set(Status) - FINAL))
def test_an_execution_that_has_not_ended_stays_however_old_it_is(make_old: MakeOld, status: Status) -> None:
    execution = make_old(400, status=status)

    remove()

    assert left(execution) == [True]
    assert StepRun.objects.filter(execution=execution, input=None).count() == 0


def test_the_oldest_that_have_ended_go_when_there_are_more_than_the_organization_keeps(
    make_old: MakeOld, kept: Organization, make_automation: Callable[..., Automation]
) -> None:
    second = Project.objects.create(organization=kept, name="Second")
    other = make_automation("Elsewhere", project=second)
    kept.keep_days, kept.keep_count = None, 3
    kept.save()
    executions = [make_old(day, automation=other if day == 4 else other.__class__.objects.get(name="Orders"))
                  for day in (6, 5, 4, 3, 2, 1)]  # fmt: skip
    waiting = make_old(7, status=Status.PAUSED)

    assert remove().executions == 3
    assert left(waiting, *executions) == [True, False, False, False, True, True, True]


def test_everything_stays_when_an_organization_keeps_for_ever(make_old: MakeOld, kept: Organization) -> None:
    kept.keep_days = kept.keep_payloads_days = None
    kept.save()
    execution = make_old(4000)

    assert sum(remove().counts.values()) == 0
    assert left(execution) == [True]
    assert StepRun.objects.get(execution=execution, attempt=0).shown_value("input") == {"body": {"name": "ada"}}


def test_one_organization_is_cleaned_alone_when_it_is_named(make_old: MakeOld, kept: Organization) -> None:
    execution = make_old(100)
    other = Organization.objects.create(name="Other")

    remove(organization=other)
    assert left(execution) == [True]
    remove(organization=kept)
    assert left(execution) == [False]


def test_receipts_deliveries_and_firings_go_when_their_time_is_over(
    automation: Automation, make_execution: MakeExecution
) -> None:
    trigger = automation.trigger
    assert trigger
    of = {"organization_id": automation.organization_id}
    for days in (91, 89):
        Receipt.objects.create(
            id=id_at(ago(days)), project_id=automation.project_id, automation=automation, trigger=trigger,
            outcome=Outcome.REFUSED, **of,
        )  # fmt: skip
    for hours in (-1, 1):
        expires = timezone.now() + timedelta(hours=hours)
        Delivery.objects.create(
            trigger_id=trigger.uid, key=str(hours), fingerprint="", execution_id=new_id(), expires_at=expires, **of
        )
    for days in (41, 39):
        Firing.objects.create(trigger_id=trigger.uid, fires_at=ago(days), execution_id=new_id(), **of)

    run = remove()

    assert (run.receipts, run.deliveries, run.firings) == (1, 1, 1)
    assert [rows.objects.count() for rows in (Receipt, Delivery, Firing)] == [1, 1, 1]
    assert Delivery.objects.get().key == "1"


def test_what_was_counted_stays_when_the_executions_go(make_old: MakeOld, automation: Automation) -> None:
    make_old(100)
    of = {"organization_id": automation.organization_id}
    day = ago(100).date()
    UsageDay.objects.create(
        project_id=automation.project_id, automation_id=automation.pk, day=day, status=3, shard=0, count=7, **of
    )
    UsageMonth.objects.create(month=this_month() - timedelta(days=100), reserved=7, **of)
    ReceiptDay.objects.create(automation=automation, day=day, outcome=Outcome.EXECUTED, shard=0, count=7, **of)
    Automation.objects.update(deleted_at=ago(100))
    Project.objects.update(deleted_at=ago(100))

    remove()

    assert not Execution.objects.exists() and not Automation.objects.exists() and not Project.objects.exists()
    assert (UsageDay.objects.get().count, UsageMonth.objects.get().reserved, ReceiptDay.objects.get().count) == (
        7, 7, 7,
    )  # fmt: skip


def test_a_deleted_automation_and_project_go_after_their_last_execution(
    make_old: MakeOld, automation: Automation, project: Project
) -> None:
    execution = make_old(80)
    Variable.objects.create(project=project, key="A", encrypted="")
    automation.delete()
    Automation.objects.update(deleted_at=ago(2))
    Project.objects.update(deleted_at=ago(2))

    remove()
    assert Automation.objects.count() == Project.objects.count() == 1

    Execution.objects.filter(pk=execution.pk).delete()
    run = remove()
    assert (run.automations, run.projects) == (1, 1)
    remaining = [rows._default_manager.count() for rows in (Automation, Version, Trigger, Project, Variable)]
    assert remaining == [0, 0, 0, 0, 0]


def test_what_was_deleted_just_now_or_not_at_all_stays(automation: Automation, project: Project) -> None:
    remove()
    automation.delete()
    remove()

    assert Automation.objects.count() == Project.objects.count() == 1

"""What retention removes, what it leaves, and what people are told where something was."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from automations.models import Automation, Trigger, Version
from executions import sealed_json as encoding
from executions import tasks
from executions.housekeeping import retention
from executions.models import (
    Attempt,
    Delivery,
    Execution,
    Firing,
    Outcome,
    Payload,
    Receipt,
    ReceiptDay,
    RetentionRun,
    StepRun,
)  # fmt: skip
from executions.models.retry import RetryRefused
from executions.states import FINAL, Status
from executions.store import space
from projects.ids import id_at, new_id
from projects.models import Organization, Project, UsageDay, UsageMonth, Variable, this_month
from tests.support.api import Api, make_step

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]
type MakeOld = Callable[..., Execution]

LARGE = '"' + "x" * encoding.ROW_LIMIT + '"'


def ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


@pytest.fixture(autouse=True)
def compact(db: None) -> None:
    """Begin without free pages: a round gives back what it removed, not what the tests before did."""
    while space.give_back(2**31):  # each time the file is shorter, and a tenth of it less
        pass


@pytest.fixture(autouse=True)
def kept(organization: Organization) -> Organization:
    """Let the organization keep executions for 90 days and their payloads for 30."""
    Organization.objects.update(keep_days=90, keep_payloads_days=30, keep_count=None)
    organization.refresh_from_db()
    return organization


@pytest.fixture
def make_old(make_execution: MakeExecution) -> MakeOld:
    """Return a function that stores an execution of so many days ago, with its trigger's payload and one step."""

    def make(days: float, **fields: Any) -> Execution:
        execution = make_execution(**{"id": id_at(ago(days)), "status": Status.SUCCESS, "steps": 1, **fields})
        make_step(execution, "trigger", attempt=0, position=0, input='{"body":{"name":"ada"}}')
        make_step(execution, "fetch", output='{"ok":true}', error="kept words")
        return execution

    return make


def make_many(like: Execution, count: int, *, seconds: float = 1) -> None:
    """Store copies that were accepted after one another; without step runs."""
    values = {field.attname: getattr(like, field.attname) for field in Execution._meta.concrete_fields}
    times = [like.accepted_at + timedelta(seconds=seconds * (number + 1)) for number in range(count)]
    Execution.objects.bulk_create(Execution(**values | {"id": id_at(moment)}) for moment in times)


def remove(**options: Any) -> RetentionRun:
    run = retention.begin(is_dry_run=options.pop("is_dry_run", False))
    retention.perform(run, **options)
    return RetentionRun.objects.get(pk=run.pk)


def left(*executions: Execution) -> list[bool]:
    return [Execution.objects.filter(pk=execution.pk).exists() for execution in executions]


# --- rows


@pytest.mark.parametrize("status", sorted(FINAL))
def test_an_execution_goes_with_all_it_holds_when_it_is_older_than_its_organization_keeps(
    make_old: MakeOld, status: Status
) -> None:
    old, young = make_old(90.1, status=status), make_old(89.9, status=status)
    Attempt.objects.create(
        execution_id=old.pk, number=1, organization_id=old.organization_id, version=old.version, status=Status.FAILED
    )
    Payload.objects.create(
        execution=old, attempt=1, key="fetch", side="output", organization_id=old.organization_id, body=LARGE
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


# --- payloads


def test_payloads_go_before_their_execution_and_leave_their_size(make_old: MakeOld) -> None:
    old, young = make_old(31), make_old(29)
    large = {"execution": old, "organization_id": old.organization_id, "key": "large", "attempt": 1}
    make_step(old, "large", position=2, output=LARGE[:100], output_bytes=len(LARGE))
    Payload.objects.create(**large, side="output", body=LARGE)

    assert remove().payloads == 1
    run = StepRun.objects.get(execution=old, key="large")
    assert (run.output, run.output_bytes, run.is_removed("output"), run.shown("output")) == (
        None, len(LARGE), True, None,
    )  # fmt: skip
    assert not Payload.objects.filter(execution=old).exists()
    assert StepRun.objects.get(execution=old, key="fetch").error == "kept words"
    assert Execution.objects.get(pk=old.pk).payloads_removed_at is not None
    assert StepRun.objects.get(execution=young, key="fetch").shown("output") == '{"ok":true}'
    assert remove().payloads == 0


def test_payloads_of_one_that_ends_late_go_when_it_has_ended(make_old: MakeOld) -> None:
    late, ended = make_old(40, status=Status.PAUSED), make_old(35)

    assert remove().payloads == 1
    Execution.objects.filter(pk=late.pk).update(status=Status.SUCCESS)
    assert remove().payloads == 1
    assert [one.payloads_removed_at is None for one in Execution.objects.filter(pk__in=[late.pk, ended.pk])] == [
        False, False,
    ]  # fmt: skip


def test_the_page_says_that_retention_removed_a_payload(client: Client, builder: User, make_old: MakeOld) -> None:
    client.force_login(builder)
    execution = make_old(31)
    page = f"/projects/{execution.project_id}/executions/{execution.pk}/"
    remove()

    trigger = client.get(f"{page}steps/0/trigger/input/").content.decode()
    fetched = client.get(f"{page}steps/1/fetch/output/").content.decode()

    says = f"Removed by retention on {timezone.now():%-d %B %Y}."
    assert says in trigger and says in fetched
    assert "Download" not in trigger
    assert client.get(f"{page}steps/1/fetch/output/?download=1").status_code == 404
    assert client.get(page).status_code == 200


def test_the_api_tells_a_removed_payload_from_one_that_never_was(builder: User, make_old: MakeOld) -> None:
    execution = make_old(31)
    make_step(execution, "silent", position=2, output=None)
    remove()
    api = Api(builder, execution.organization_id)
    path = f"projects/{execution.project_id}/executions"

    fetch, silent = (api.get(f"{path}/{execution.pk}/steps", key=key)["steps"][0] for key in ("fetch", "silent"))

    assert (fetch["output"], fetch["output_is_whole"], fetch["output_is_removed"]) == (None, False, True)
    assert (silent["output"], silent["output_is_whole"], silent["output_is_removed"]) == (None, True, False)
    assert api.get(f"{path}/{execution.pk}")["payloads_removed_at"] is not None


def test_a_retry_is_refused_when_its_payload_was_removed(make_old: MakeOld, builder: User) -> None:
    execution = make_old(31, status=Status.FAILED)
    assert execution.retry_refusal() is None
    remove()

    with pytest.raises(RetryRefused, match="Its payload was removed by retention on") as refused:
        execution.retry(builder)

    assert refused.value.code == "payload_removed"
    assert Execution.objects.get(pk=execution.pk).attempt == 1


# --- the rest


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


# --- rounds


def test_a_dry_run_counts_what_would_go_and_changes_nothing(make_old: MakeOld, automation: Automation) -> None:
    make_old(100), make_old(31), make_old(1)
    before = list(StepRun.objects.order_by("pk").values_list()), list(Execution.objects.order_by("pk").values_list())

    run = remove(is_dry_run=True)

    assert (run.executions, run.payloads) == (1, 1)
    assert before == (
        list(StepRun.objects.order_by("pk").values_list()), list(Execution.objects.order_by("pk").values_list()),
    )  # fmt: skip


def test_a_round_stops_when_its_time_is_over_and_the_next_goes_on(
    make_old: MakeOld, make_automation: Callable[..., Automation], kept: Organization
) -> None:
    other = Organization.objects.create(name="Other", keep_days=90)
    elsewhere = make_automation(
        "B", project=Project.objects.create(organization=other, name="B"), organization_id=other.pk
    )
    mine, theirs = make_old(100), make_old(100, automation=elsewhere)

    first = remove(budget_s=0)
    assert (first.executions, first.is_complete, first.organization_id) == (1, False, kept.pk)
    assert left(mine, theirs) == [False, True]
    second = remove(budget_s=0)
    assert (second.executions, second.is_complete, second.organization_id) == (1, False, other.pk)
    mine, theirs = make_old(100), make_old(100, automation=elsewhere)
    remove(budget_s=0)
    assert left(mine, theirs) == [True, False]
    remove(budget_s=0)
    assert left(mine) == [False]
    assert remove(budget_s=0).is_complete


def test_each_kind_of_work_begins_with_a_small_transaction(make_old: MakeOld, automation: Automation) -> None:
    make_many(make_old(100), 200)
    of = {"trigger_id": "t", "organization_id": automation.organization_id}
    Firing.objects.bulk_create(
        Firing(fires_at=ago(41) + timedelta(seconds=number), execution_id=new_id(), **of) for number in range(2000)
    )

    with CaptureQueriesContext(connection) as asked:
        assert remove().executions == 201

    first = next(query["sql"] for query in asked if query["sql"].startswith('DELETE FROM "executions_execution"'))
    assert 20 <= first.count(",") + 1 <= 100


def test_a_second_round_waits_while_one_is_under_way_unless_that_one_is_dead(db: None) -> None:
    first = retention.begin()
    with pytest.raises(retention.AlreadyRunning):
        retention.begin()
    retention.begin(is_dry_run=True)

    RetentionRun.objects.filter(pk=first.pk).update(beat_at=ago(0.01))
    assert retention.begin().pk != first.pk
    first.refresh_from_db()
    assert first.finished_at and "ended" in first.error


def test_the_task_has_another_round_follow_when_there_is_more(
    make_old: MakeOld, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(100)
    monkeypatch.setattr(tasks, "BUDGET_S", 0)

    assert tasks.remove_old() == "executions 1"
    assert OrmQ.objects.count() == 1
    assert tasks.remove_old() == "nothing to remove"
    assert OrmQ.objects.count() == 1


def test_retention_is_scheduled_once_however_often_a_cluster_starts(db: None) -> None:
    tasks.make_schedules()
    tasks.make_schedules()
    schedule = Schedule.objects.get(func="executions.tasks.remove_old")
    assert (schedule.schedule_type, schedule.args, schedule.kwargs) == (Schedule.HOURLY, None, None)

    Schedule.objects.create(func=schedule.func)
    tasks.make_schedules()
    assert Schedule.objects.get(func=schedule.func).pk == schedule.pk


def test_the_command_says_what_it_would_do_and_does_it(make_old: MakeOld, kept: Organization) -> None:
    execution = make_old(100)

    assert re.search(r"Would remove:\s+1 executions", ran("--dry-run"))
    assert left(execution) == [True]
    assert re.search(r"Removed:\s+1 executions", ran("--organization", str(kept.pk)))
    assert left(execution) == [False]
    with pytest.raises(CommandError, match="There is no organization"):
        ran("--organization", str(uuid.uuid4()))


def ran(*arguments: str) -> str:
    out = StringIO()
    call_command("retention", *arguments, stdout=out)
    return out.getvalue()


def test_staff_see_how_far_a_round_got(admin_client: Client, make_old: MakeOld) -> None:
    make_old(100)
    run = remove()

    listed = admin_client.get("/admin/executions/retentionrun/").content.decode()
    shown = admin_client.get(f"/admin/executions/retentionrun/{run.pk}/change/")

    assert re.search(r'field-executions">1<', listed)
    assert shown.status_code == 200 and b'name="_save"' not in shown.content

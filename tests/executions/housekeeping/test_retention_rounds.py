"""How a round of retention is asked for, begun, stopped, continued and looked at."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_q.models import OrmQ, Schedule

from automations.models import Automation
from executions import tasks
from executions.housekeeping import retention
from executions.models import Execution, Firing, RetentionRun, StepRun
from projects.ids import id_at, new_id
from projects.models import Organization, Project
from tests.support.retention import ago, left, remove

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("compact", "kept")]

type MakeOld = Callable[..., Execution]


def make_many(like: Execution, count: int) -> None:
    """Store copies that were accepted after one another; without step runs."""
    values = {field.attname: getattr(like, field.attname) for field in Execution._meta.concrete_fields}
    times = [like.accepted_at + timedelta(seconds=number + 1) for number in range(count)]
    Execution.objects.bulk_create(Execution(**values | {"id": id_at(moment)}) for moment in times)


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
    elsewhere = make_automation("B", project=Project.objects.create(organization=other, name="B"))
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

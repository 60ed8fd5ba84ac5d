"""How a copy goes on: everything that was under way ends, once, and nothing that the original has done comes again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from automations.models import Automation, Schedule
from executions import tasks
from executions.models import Engine, Execution, StepRun
from executions.states import Status, StepStatus
from projects import quiet
from projects.models import Installation, Project, UsageDay
from tests.support.pages import text_of, url_of

HOURLY = {"unit": "hours", "interval": 1, "at": "00:00", "missed": "all"}

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def copied(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this data at home elsewhere."""
    monkeypatch.setattr(quiet, "_known", "")  # as it will be after the test
    Installation.objects.update_or_create(pk=1, defaults={"home": "sqlite:1:1", "place": "/srv/elsewhere"})
    quiet.look()


def restored(*options: str, capsys: pytest.CaptureFixture[str]) -> str:
    call_command("restored", *options)
    return capsys.readouterr().out


def test_reject_ends_what_was_under_way_and_counts_it_once(
    copied: None, make_execution: Callable[..., Execution], capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Engine.objects.create(host="original", boot_id="b", pid=1)
    states = (Status.PENDING, Status.RUNNING, Status.PAUSED)
    held = {Status.RUNNING: engine.pk}
    under_way = [
        make_execution(status=status, started_at=timezone.now(), engine_id=held.get(status), claim=1)
        for status in states
    ]
    retried = make_execution(status=Status.RUNNING, is_counted=True, started_at=timezone.now())
    never_begun = make_execution()
    done = make_execution(status=Status.SUCCESS, is_counted=True)
    run = StepRun.objects.create(
        execution=under_way[1], attempt=1, key="fetch", organization_id=done.organization_id, position=1,
        status=StepStatus.RUNNING, started_at=timezone.now(),
    )  # fmt: skip

    assert "5 executions ended as Rejected" in restored("--reject", capsys=capsys)

    for execution in (*under_way, retried):
        execution.refresh_from_db()
        assert (execution.status, execution.reason_code) == (Status.REJECTED, "restored")
        assert (execution.is_counted, execution.engine_id) == (True, None)
        assert execution.reason == "Restored from a copy while it waited for a worker."
    never_begun.refresh_from_db()
    assert (never_begun.reason, never_begun.is_counted) == ("Restored from a copy before it started.", False)
    done.refresh_from_db()
    assert done.status == Status.SUCCESS
    run.refresh_from_db()
    assert (run.status, run.error_code) == (StepStatus.REJECTED, "interrupted")
    assert [(row.status, row.count) for row in UsageDay.objects.all()] == [(Status.REJECTED, 3)]
    assert not Engine.objects.exists()
    assert "does not keep quiet" in restored(capsys=capsys)


@pytest.mark.parametrize(("option", "stays_due"), [("--go-on", True), ("--reject", False)])
def test_missed_fire_times_are_kept_or_skipped(
    copied: None, make_automation: Callable[..., Automation], capsys: pytest.CaptureFixture[str], option: str,
    stays_due: bool,
) -> None:  # fmt: skip
    make_automation("Hourly", trigger={"connector": "schedule", "event": "fires", "config": HOURLY})
    Schedule.objects.update(next_at=timezone.now() - timedelta(hours=5))
    listed = restored(capsys=capsys)

    restored(option, capsys=capsys)

    assert "Website / Hourly  (missed)" in listed
    assert (Schedule.objects.get().next_at <= timezone.now()) is stays_due


def test_a_list_changes_nothing_and_names_the_organization(
    copied: None, make_execution: Callable[..., Execution], capsys: pytest.CaptureFixture[str]
) -> None:
    execution = make_execution(status=Status.PAUSED)

    listed = restored(capsys=capsys)

    assert f"Acme ({execution.organization_id}): 1 Paused" in listed
    assert "it was at home in /srv/elsewhere" in listed
    execution.refresh_from_db()
    assert execution.status == Status.PAUSED
    assert quiet.look()


def test_go_on_gives_running_executions_back_and_accuses_none(
    copied: None, make_execution: Callable[..., Execution], capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Engine.objects.create(host="original", boot_id="b", pid=1)
    execution = make_execution(status=Status.RUNNING, engine_id=engine.pk)

    assert "1 Running executions resume" in restored("--go-on", capsys=capsys)

    execution.refresh_from_db()
    assert (execution.status, execution.suspicion, execution.deaths) == (Status.PENDING, 0, 0)
    assert not quiet.look()


def test_housekeeping_waits(copied: None) -> None:
    assert "copy" in tasks.notify_of_limits()
    assert "copy" in tasks.remove_old()


def test_pages_say_so_to_members_and_tell_staff_why(
    settings: Settings, client: Client, builder: User, project: Project, make_execution: Callable[..., Execution]
) -> None:
    settings.QUIET = True
    client.force_login(builder)
    page = text_of(client, f"/projects/{project.pk}/executions/")
    assert "This installation keeps quiet" in page
    assert "QUIET is on" not in page
    assert "whoever runs AgentOS for you says so" in text_of(client, url_of(make_execution()))

    User.objects.filter(pk=builder.pk).update(is_staff=True, is_superuser=True)
    assert "The setting QUIET is on." in text_of(client, "/projects/")
    assert "The setting QUIET is on." in text_of(client, "/admin/")
    assert "sends no e-mails for now" in text_of(client, "/password/forgotten/sent/")


def test_nothing_is_said_where_nothing_is_quiet(client: Client, builder: User, project: Project) -> None:
    client.force_login(builder)

    assert "keeps quiet" not in text_of(client, f"/projects/{project.pk}/executions/")

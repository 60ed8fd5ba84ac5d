"""Deleting an automation: what becomes of its executions is asked, and happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from automations.models import Automation
from executions import tasks
from executions.log import deletion
from executions.models import Execution, stopping
from executions.states import Status

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]

OPEN = (Status.PENDING, Status.PAUSED, Status.RUNNING)


@pytest.fixture
def delete(automation: Automation, builder: User, client: Client) -> Callable[..., str]:
    """Return a function that sends the form by which an automation is deleted, and returns the page that follows."""
    client.force_login(builder)
    address = f"/projects/{automation.project_id}/automations/{automation.pk}/delete/"

    def send(**fields: str) -> str:
        return client.post(address, {"name": automation.name, **fields}, follow=True).content.decode()

    return send


def states(automation: Automation) -> list[tuple[Status, bool]]:
    rows = Execution.objects.filter(automation=automation).order_by("pk")
    return [(row.state, row.is_stopping) for row in rows]


def is_deleted(automation: Automation) -> bool:
    automation.refresh_from_db()
    return automation.deleted_at is not None


def test_without_open_executions_nothing_is_asked(
    automation: Automation, make_execution: MakeExecution, delete: Callable[..., str]
) -> None:
    make_execution(status=Status.SUCCESS)

    assert "deleted." in delete()
    assert is_deleted(automation)


def test_with_open_executions_it_asks_and_deletes_nothing_yet(
    automation: Automation, make_execution: MakeExecution, delete: Callable[..., str]
) -> None:
    for status in (*OPEN, Status.PENDING):
        make_execution(status=status)

    page = delete()

    assert "Nothing is deleted yet." in page
    assert "2 Pending, 1 Paused, 1 Running" in page
    assert not is_deleted(automation)


def test_they_are_cancelled(automation: Automation, make_execution: MakeExecution, delete: Callable[..., str]) -> None:
    for status in OPEN:
        make_execution(status=status, started_at=timezone.now())

    assert "What waited is cancelled." in delete(unfinished="cancel")

    assert is_deleted(automation)
    assert states(automation) == [(Status.REJECTED, False), (Status.REJECTED, False), (Status.RUNNING, True)]
    assert Execution.objects.filter(reason__startswith="Cancelled by builder").count() == 2


def test_they_end_by_themselves(
    automation: Automation, make_execution: MakeExecution, delete: Callable[..., str]
) -> None:
    for status in OPEN:
        make_execution(status=status)

    assert "Accepted executions still finish." in delete(unfinished="finish")

    assert is_deleted(automation)
    tasks.cancel_of_deleted()
    assert states(automation) == [(status, False) for status in OPEN]


def test_housekeeping_goes_on_with_what_was_too_much_for_one_answer(
    automation: Automation, make_execution: MakeExecution, delete: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "ROUND", 2)
    monkeypatch.setattr(deletion, "BUDGET_S", 0.0)
    for _ in range(5):
        make_execution()

    assert "Its executions are being cancelled." in delete(unfinished="cancel")
    assert states(automation).count((Status.PENDING, False)) == 3

    tasks.cancel_of_deleted()

    assert set(states(automation)) == {(Status.REJECTED, False)}


def test_one_that_was_accepted_at_the_same_moment_is_cancelled_too(
    automation: Automation, make_execution: MakeExecution, delete: Callable[..., str]
) -> None:
    make_execution()
    delete(unfinished="cancel")
    late = make_execution()

    tasks.cancel_of_deleted()

    assert Execution.objects.get(pk=late.pk).state is Status.REJECTED


def test_the_wish_is_forgotten_once_all_have_ended(
    automation: Automation, make_execution: MakeExecution, delete: Callable[..., str]
) -> None:
    make_execution(status=Status.RUNNING)
    delete(unfinished="cancel")
    long_ago: dict[str, Any] = {"deleted_at": timezone.now() - timedelta(hours=1)}
    Automation.objects.filter(pk=automation.pk).update(**long_ago)

    tasks.cancel_of_deleted()
    automation.refresh_from_db()
    assert automation.cancels_for == "builder"  # it runs, and may pause

    Execution.objects.update(status=Status.REJECTED)
    tasks.cancel_of_deleted()
    automation.refresh_from_db()
    assert not Automation.objects.exclude(cancels_for=None).exists()

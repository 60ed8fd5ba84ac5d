"""Staff can run no code: nothing that a worker calls by its name can be written in the administration."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ, Schedule, Task

pytestmark = pytest.mark.django_db

MODELS = ("schedule", "ormq", "success", "failure", "task")
SCHEDULE = {"name": "mine", "func": "os.system", "args": "'id'", "schedule_type": "O", "repeats": "-1",
            "next_run_0": "2020-01-01", "next_run_1": "00:00:00", "minutes": "1", "cluster": ""}  # fmt: skip
FORMS: list[dict[str, Any]] = [
    SCHEDULE,
    {"action": "resubmit_task", "_selected_action": ["1"]},
    {"action": "delete_selected", "_selected_action": ["1"], "post": "yes"},
    {"_save": "Save", "func": "os.system", "name": "mine"},
]


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def failure() -> Task:
    now = timezone.now()
    return Task.objects.create(
        id="1", name="limits", func="executions.tasks.notify_of_limits", started=now, stopped=now, success=False,
        result="OSError: no route",
    )  # fmt: skip


def stored() -> list[Any]:
    return [sorted(map(repr, model.objects.values_list())) for model in (Schedule, OrmQ, Task)]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("form", FORMS)
def test_nothing_that_a_worker_runs_can_be_written(
    staff: Client, failure: Task, model: str, form: dict[str, Any]
) -> None:
    Schedule.objects.create(func="executions.tasks.remove_old", name="retention", schedule_type="H")
    before = stored()

    for path in ("", "add/", "1/change/", "1/delete/", "1/history/"):
        answer = staff.post(f"/admin/django_q/{model}/{path}", form)
        shows_itself = path in ("", "1/history/")  # a list without actions, and a page that has no form
        assert answer.status_code in (302, 403, 404, 405) or shows_itself, path
    for path in ("", "add/", "1/change/", "1/delete/"):
        html = staff.get(f"/admin/django_q/{model}/{path}", follow=True).content.decode()
        assert 'name="func"' not in html and "resubmit" not in html, path
    assert stored() == before


def test_staff_read_which_housekeeping_tasks_failed_and_why(staff: Client, failure: Task) -> None:
    assert "notify_of_limits" in staff.get("/admin/django_q/failure/").content.decode()
    assert "OSError: no route" in staff.get("/admin/django_q/failure/1/change/").content.decode()


def test_only_known_models_can_be_written_at_all() -> None:
    """Read the registry: a package that registers models of its own must be looked at first."""
    known = {"auth", "projects", "automations", "executions"}

    unknown = {model._meta.label for model in admin.site._registry if model._meta.app_label not in known}

    assert unknown == {"django_q.Failure"}

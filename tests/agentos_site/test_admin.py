from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from automations.models import Automation
from executions import sealed_json
from executions.models import Execution, StepRun
from executions.secret_forms import Mask
from executions.states import StepStatus
from projects.models import LimitNotice, Organization, Variable, this_month

pytestmark = pytest.mark.django_db
OURS = [model for model in admin.site._registry if model._meta.app_label in ("projects", "automations", "executions")]
NAMES = [f"{model._meta.app_label}_{model._meta.model_name}" for model in OURS]
CANARY = "canary-4711"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def secretive(automation: Automation, make_execution: Callable[..., Execution]) -> Execution:
    """Return an execution whose step run, trigger and project hold secrets."""
    variable = Variable(project=automation.project, key="TOKEN", is_secret=True)
    variable.value = CANARY
    variable.save()
    execution = make_execution()
    StepRun.objects.create(
        execution_id=execution.pk, attempt=1, key="call", position=1, organization_id=execution.organization_id,
        status=StepStatus.SUCCESS, connector="http", action="request", started_at=execution.run_at,
        output=sealed_json.sealed({"echo": f"Bearer {CANARY}", "kept": "plain"}, [Mask([CANARY])], execution.pk),
    )  # fmt: skip
    return execution


@pytest.mark.parametrize("name", NAMES)
def test_each_list_opens_and_searches(staff: Client, secretive: Execution, name: str) -> None:
    for search in ("", "nonsense", "%00", str(secretive.pk), "x" * 10_000):
        assert staff.get(reverse(f"admin:{name}_changelist"), {"q": search} if search else {}).status_code == 200


def test_an_execution_is_found_by_its_id_and_shows_its_step_runs_masked(staff: Client, secretive: Execution) -> None:
    found = staff.get(reverse("admin:executions_execution_changelist"), {"q": str(secretive.pk)})
    page = staff.get(reverse("admin:executions_execution_change", args=[secretive.pk]))

    assert str(secretive.pk) in found.content.decode()
    html = page.content.decode()
    assert "plain" in html and "Bearer ••••••••" in html
    assert CANARY not in html and sealed_json.MARK not in html


def test_no_secret_is_on_any_page(staff: Client, secretive: Execution, automation: Automation) -> None:
    trigger = automation.trigger
    assert trigger is not None and automation.live_version is not None
    ours = {
        "projects_organization": automation.organization_id, "projects_project": automation.project_id,
        "automations_automation": automation.pk, "automations_version": automation.live_version.pk,
        "automations_trigger": trigger.pk, "executions_execution": secretive.pk,
    }  # fmt: skip

    for name, pk in ours.items():
        html = staff.get(reverse(f"admin:{name}_change", args=[pk])).content.decode()
        assert trigger.encrypted_secret not in html and CANARY not in html, name


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("automations", "executions"))])
def test_what_the_product_writes_can_only_be_read(staff: Client, secretive: Execution, name: str) -> None:
    assert staff.get(reverse(f"admin:{name}_add")).status_code == 403


def test_organizations_and_projects_cannot_be_deleted(staff: Client, organization: Organization) -> None:
    assert staff.post(reverse("admin:projects_organization_delete", args=[organization.pk])).status_code == 403


def test_growing_lists_are_not_counted(staff: Client, make_execution: Callable[..., Execution]) -> None:
    make_execution()

    with CaptureQueriesContext(
        connection,
    ) as queries:
        staff.get(reverse("admin:executions_execution_changelist"))

    assert not [query["sql"] for query in queries if "COUNT(" in query["sql"].upper()]


def test_staff_without_permissions_and_builders_see_nothing(client: Client, builder: User) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)

    for user, expected in ((clerk, 403), (builder, 302)):
        client.force_login(user)
        assert client.get(reverse("admin:executions_execution_changelist")).status_code == expected


def test_limits_are_set_by_staff(staff: Client, organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(soft_limit=100, hard_limit=250)
    for limit in ("soft", "hard"):
        LimitNotice.objects.create(organization=organization, month=this_month(), limit=limit, percent=100)
    page = reverse("admin:projects_organization_change", args=[organization.pk])
    form = {
        "name": "Acme", "soft_limit": "100", "hard_limit": "500", "email_limit": "", "time_limit_s": "300",
        "throttle_rate": "25", "throttle_rate_limit": "20", "direct_limit": "", "duplicates_h": "48", "keep_days": "30",
        "keep_count": "", "keep_payloads_days": "7",
        "memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0",
    }  # fmt: skip

    assert staff.post(page, form).status_code == 302

    organization.refresh_from_db()
    assert (organization.soft_limit, organization.hard_limit, organization.email_limit) == (100, 500, None)
    assert LimitNotice.objects.get().limit == "soft"  # of the one that was changed the owners are told anew
    assert (organization.throttle_rate_limit, organization.direct_limit, organization.keep_days) == (20, None, 30)
    assert organization.throttle_rate == 20  # not above what it may be

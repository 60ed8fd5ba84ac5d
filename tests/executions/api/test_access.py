from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import get_resolver

from automations.models import Automation
from executions.models import Execution
from projects.models import ApiToken, Membership, Organization, Project
from tests.support.api import Api

pytestmark = pytest.mark.django_db

type MakeAutomation = Callable[..., Automation]

NOWHERE = "0192f0c0-0000-7000-8000-000000000000"


@pytest.fixture
def api(builder: User, organization: Organization) -> Api:
    return Api(builder, organization.uid)


def everywhere(project: Project, automation: Automation, execution: Execution) -> list[tuple[str, str]]:
    inside = f"/v1/projects/{project.pk}"
    return [
        ("GET", inside),
        ("GET", f"{inside}/automations"),
        ("GET", f"{inside}/automations/{automation.pk}"),
        ("GET", f"{inside}/executions"),
        ("GET", f"{inside}/automations/{automation.pk}/receipts"),
        ("GET", f"{inside}/executions/{execution.pk}"),
        ("GET", f"{inside}/executions/{execution.pk}/steps"),
        ("POST", f"{inside}/executions/{execution.pk}/retry"),
    ]


def test_every_address_is_refused_without_a_token(
    client: Client, project: Project, automation: Automation, make_execution: Callable[..., Execution]
) -> None:
    for method, path in [("GET", "/v1/projects"), *everywhere(project, automation, make_execution())]:
        answer = client.generic(method, path, headers={"organization_uid": str(project.organization_id)})

        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_missing"), path
        assert answer["WWW-Authenticate"] == "authtoken"


def test_an_unknown_or_revoked_token_is_refused(api: Api, builder: User) -> None:
    assert api.error("projects", token="aos_unknown") == (401, "token_invalid")
    ApiToken.objects.get(user=builder).revoke()
    assert api.error("projects") == (401, "token_invalid")


def test_a_token_is_refused_when_its_owner_is_switched_off(api: Api, builder: User) -> None:
    User.objects.filter(pk=builder.pk).update(is_active=False)

    assert api.error("projects") == (401, "token_invalid")


def test_a_session_is_no_token(client: Client, builder: User, organization: Organization) -> None:
    client.force_login(builder)

    answer = client.get("/v1/projects", headers={"organization_uid": str(organization.pk)})

    assert answer.status_code == 401


def test_an_organization_is_refused_when_it_is_missing_unknown_or_anothers(api: Api, stranger: User) -> None:
    theirs = Membership.objects.get(user=stranger).organization_id

    assert api.error("projects", organization="") == (400, "organization_missing")
    for text in (NOWHERE, "no-uid", str(theirs)):
        assert api.error("projects", organization=text) == (403, "organization_forbidden")


def test_nothing_of_another_organization_is_found(
    stranger: User, project: Project, automation: Automation, make_execution: Callable[..., Execution]
) -> None:
    execution = make_execution()
    theirs = Membership.objects.get(user=stranger).organization_id
    api = Api(stranger, theirs)

    assert [shown["title"] for shown in api.get("projects")["projects"]] == ["Elsewhere"]
    for method, path in everywhere(project, automation, execution):
        answer = api.ask(method, path)

        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), path


def test_a_project_is_not_found_by_a_member_without_it(project: Project, organization: Organization, db: None) -> None:
    member = User.objects.create_user("member")
    Membership.objects.create(organization=organization, user=member, role=Membership.Role.MEMBER)
    api = Api(member, organization.pk)

    assert api.get("projects")["projects"] == []
    assert api.error(f"projects/{project.pk}") == (404, "not_found")
    project.members.add(member)
    assert api.get(f"projects/{project.pk}")["shared"] == [str(member.pk)]


def test_an_automation_is_not_found_under_another_project(
    api: Api, automation: Automation, organization: Organization, make_execution: Callable[..., Execution]
) -> None:
    other = Project.objects.create(organization=organization, name="Second")

    theirs = f"/v1/projects/{other.pk}/automations/{automation.pk}"
    for method, path in [("GET", theirs), *everywhere(other, automation, make_execution())[4:]]:
        assert api.ask(method, path).status_code == 404, path


def test_no_view_but_the_apis_is_exempt_from_csrf(client: Client) -> None:
    assert exempt_views() == [
        "executions.api.endpoint.unknown",
        "executions.api.receipts.receipts",
        "executions.api.steps.steps",
        *(
            f"executions.api.views.{name}"
            for name in (
                "automation",
                "automations",
                "cancel",
                "execution",
                "executions",
                "project",
                "projects",
                "retry",
            )
        ),
    ]


def exempt_views() -> list[str]:
    found, open_patterns = set(), list(get_resolver().url_patterns)
    while open_patterns:
        pattern: Any = open_patterns.pop()
        open_patterns += getattr(pattern, "url_patterns", [])
        view: Any = getattr(pattern, "callback", None)
        if getattr(view, "csrf_exempt", False):
            found.add(f"{view.__module__}.{view.__name__}")
    return sorted(found)


def test_headers_are_read_with_dashes_too(api: Api, client: Client) -> None:
    answer = client.get("/v1/projects", headers={"authtoken": api.token, "organization-uid": api.organization})

    assert answer.status_code == 200


def test_an_id_is_read_in_any_of_its_forms(api: Api, organization: Organization) -> None:
    answer = api.ask("GET", "/v1/projects", organization=organization.pk.hex)

    assert answer.status_code == 200

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone

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
        ("GET", f"{inside}/executions/{execution.pk}"),
        ("GET", f"{inside}/executions/{execution.pk}/steps"),
        ("POST", f"{inside}/executions/{execution.pk}/retry"),
    ]


def test_projects_are_those_of_the_organization(
    api: Api, project: Project, organization: Organization, builder: User
) -> None:
    second = Organization.objects.create(name="Second")
    Membership.objects.create(organization=second, user=builder, role=Membership.Role.OWNER)
    Project.objects.create(organization=second, name="Not asked for")

    [shown] = api.get("projects")["projects"]

    assert (shown["id"], shown["title"], shown["org_id"]) == (str(project.pk), "Website", str(organization.pk))
    assert {"description", "user_id", "shared", "tags", "type", "created_by", "created_at", "updated_at"} <= set(shown)
    assert api.get(f"projects/{project.pk}") == shown


def test_automations_are_rules(api: Api, automation: Automation, make_automation: MakeAutomation) -> None:
    make_automation("Old", is_active=False)

    rules = api.get(f"projects/{automation.project_id}/automations?asc=title")["rules"]

    assert [(rule["title"], rule["active"], rule["version"]) for rule in rules] == [
        ("Old", False, None),
        ("Orders", True, 1),
    ]
    assert "steps" not in rules[0]


def test_automations_are_the_active_ones_when_asked(
    api: Api, automation: Automation, make_automation: MakeAutomation
) -> None:
    make_automation("Old", is_active=False)

    rules = api.get(f"projects/{automation.project_id}/automations", query="{'active':'true'}")["rules"]

    assert [rule["title"] for rule in rules] == ["Orders"]


def test_steps_of_an_automation_are_shown_when_asked_without_what_their_fields_hold(
    api: Api, automation: Automation
) -> None:
    shown = api.get(f"projects/{automation.project_id}/automations/{automation.pk}?show_steps=true")

    assert [(step["id"], step["connector_id"], step["next"]) for step in shown["steps"]] == [("fetch", "http", [])]
    assert shown["trigger"]["next"] == ["fetch"]
    assert "example.com" not in json.dumps(shown)


def test_a_deleted_automation_is_gone(api: Api, automation: Automation) -> None:
    automation.delete()

    assert api.get(f"projects/{automation.project_id}/automations")["rules"] == []
    assert api.error(f"projects/{automation.project_id}/automations/{automation.pk}") == (404, "not_found")


def test_lists_are_cut_sorted_and_counted(api: Api, organization: Organization) -> None:
    now = timezone.now()
    for age, name in enumerate("abc"):
        made = now - timedelta(days=age)
        Project.objects.create(organization=organization, name=name, created_at=made)

    def titles(**query: str) -> list[str]:
        return [shown["title"] for shown in api.get("projects", **query)["projects"]]

    assert titles() == ["a", "b", "c"]
    assert titles(asc="created_at") == ["c", "b", "a"]
    assert titles(desc="title", limit="2") == ["c", "b"]
    assert titles(desc="title", limit="2", skip="2") == ["a"]
    assert api.get("projects", limit="0", include_count="true") == {
        "projects": [],
        "count": 3,
        "count_is_exact": True,
    }


@pytest.mark.parametrize(
    "query",
    ["limit=101", "limit=-1", "limit=x", "limit=1.5", "skip=10001", "include_count=perhaps", "asc=id", "desc=secret"],
)
def test_a_bad_parameter_is_refused_by_its_name(api: Api, query: str) -> None:
    assert api.error(f"projects?{query}") == (422, "invalid_parameter")
    assert query.partition("=")[0] in api.ask("GET", f"/v1/projects?{query}").json()["error"]["message"]


def test_asc_and_desc_together_are_refused(api: Api) -> None:
    assert api.error("projects?asc=title&desc=title") == (422, "invalid_parameter")


# --- who may ask


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


# --- errors are JSON


@pytest.mark.parametrize("path", ["", "nothing", "projects/", "projects/7", "projects/x/executions", "%00", "a%0Ab"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_address_is_not_found_in_json(client: Client, method: str, path: str) -> None:
    answer = client.generic(method, f"/v1/{path}")

    assert (answer.status_code, answer["Content-Type"]) == (404, "application/json")
    error = answer.json()["error"]
    assert error["code"] == "not_found"
    assert error["request_id"] == answer["X-Request-Id"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_a_wrong_method_is_refused_and_told_the_right_one(api: Api, method: str) -> None:
    answer = api.ask(method, "/v1/projects")

    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_retry_by_get_is_refused(api: Api, make_execution: Callable[..., Execution]) -> None:
    execution = make_execution()

    answer = api.ask("GET", f"/v1/projects/{execution.project_id}/executions/{execution.pk}/retry")

    assert (answer.status_code, answer["Allow"]) == (405, "POST")


def test_a_query_of_too_many_parameters_is_refused(api: Api) -> None:
    assert api.error("projects?" + "a=1&" * 1001) == (400, "bad_request")


def test_an_error_inside_is_told_in_json_without_its_words(
    api: Api, automation: Automation, caplog: pytest.LogCaptureFixture
) -> None:
    Automation.objects.filter(pk=automation.pk).update(draft={"format": "not ours"})

    answer = api.ask("GET", f"/v1/projects/{automation.project_id}/automations?show_steps=true")

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (500, "internal_error")
    assert error["request_id"] == answer["X-Request-Id"]
    assert "not ours" not in answer.content.decode()
    assert error["request_id"] in caplog.text


def test_answers_are_never_kept(api: Api) -> None:
    assert api.ask("GET", "/v1/projects")["Cache-Control"] == "no-store"
    assert api.ask("GET", "/v1/nothing")["Cache-Control"] == "no-store"


def test_no_view_but_the_apis_is_exempt_from_csrf(client: Client) -> None:
    assert exempt_views() == [
        "executions.api.endpoint.unknown",
        "executions.api.steps.steps",
        *(
            f"executions.api.views.{name}"
            for name in ("automation", "automations", "execution", "executions", "project", "projects", "retry")
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


def test_an_id_is_read_in_any_of_its_forms(api: Api, organization: Organization) -> None:
    answer = api.ask("GET", "/v1/projects", organization=organization.pk.hex)

    assert answer.status_code == 200

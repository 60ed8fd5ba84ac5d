from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from automations.models import Automation
from executions.models import Execution
from projects.models import Membership, Organization, Project
from tests.support.api import Api

pytestmark = pytest.mark.django_db

type MakeAutomation = Callable[..., Automation]

NOWHERE = "0192f0c0-0000-7000-8000-000000000000"


@pytest.fixture
def api(builder: User, organization: Organization) -> Api:
    return Api(builder, organization.uid)


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


def test_equals_stand_in_the_order_of_their_making(api: Api, organization: Organization) -> None:
    made = [str(Project.objects.create(organization=organization, name="Same").pk) for _ in range(3)]

    assert [shown["id"] for shown in api.get("projects", desc="title")["projects"]] == made[::-1]
    assert [shown["id"] for shown in api.get("projects", asc="title")["projects"]] == made


@pytest.mark.parametrize(
    "query",
    ["limit=101", "limit=-1", "limit=x", "limit=1.5", "skip=10001", "include_count=perhaps", "asc=id", "desc=secret"],
)
def test_a_bad_parameter_is_refused_by_its_name(api: Api, query: str) -> None:
    assert api.error(f"projects?{query}") == (422, "invalid_parameter")
    assert query.partition("=")[0] in api.ask("GET", f"/v1/projects?{query}").json()["error"]["message"]


def test_asc_and_desc_together_are_refused(api: Api) -> None:
    assert api.error("projects?asc=title&desc=title") == (422, "invalid_parameter")


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


def test_a_caller_is_told_to_come_again_when_the_database_is_away(api: Api) -> None:
    def away(*_: object) -> None:
        raise OperationalError("connection refused")

    with connection.execute_wrapper(away):
        answer = api.ask("GET", "/v1/projects")

    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert answer.json()["error"]["code"] == "unavailable"


def test_answers_are_never_kept(api: Api) -> None:
    assert api.ask("GET", "/v1/projects")["Cache-Control"] == "no-store"
    assert api.ask("GET", "/v1/nothing")["Cache-Control"] == "no-store"

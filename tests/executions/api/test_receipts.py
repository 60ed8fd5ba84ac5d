from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from automations.models import Automation
from executions.models import Execution, Outcome, Receipt
from projects.ids import id_at
from projects.models import Organization
from tests.support.api import START, Api

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(builder: User, organization: Organization) -> Api:
    return Api(builder, organization.uid)


@pytest.fixture
def made(automation: Automation, make_execution: Callable[..., Execution]) -> dict[Outcome, str]:
    """Return the ids of one request of each outcome, a second apart, the executed one first."""
    execution = make_execution(id=id_at(START))
    ids = {Outcome.EXECUTED: str(execution.pk)}
    for seconds, outcome in enumerate([Outcome.CONDITIONS_NOT_MET, Outcome.DUPLICATE, Outcome.REFUSED], 1):
        receipt = Receipt.objects.create(
            id=id_at(START + timedelta(seconds=seconds)), organization_id=automation.organization_id,
            project_id=automation.project_id, automation=automation, trigger=execution.trigger, outcome=outcome,
            http_status=401, code="secret_invalid", reason="The secret is wrong.",
            execution_id=execution.pk if outcome is Outcome.DUPLICATE else None,
        )  # fmt: skip
        ids[outcome] = str(receipt.pk)
    return ids


def path_of(automation: Automation) -> str:
    return f"projects/{automation.project_id}/automations/{automation.pk}/receipts"


def ids(api: Api, automation: Automation, **query: str) -> list[str]:
    return [shown["id"] for shown in api.get(path_of(automation), **query)["receipts"]]


def test_a_receipt_has_the_documented_fields(api: Api, automation: Automation, made: dict[Outcome, str]) -> None:
    shown = api.get(path_of(automation))

    about = {
        "rule_id": str(automation.pk), "project_id": str(automation.project_id),
        "org_id": str(automation.organization_id),
    }  # fmt: skip
    assert shown["next_cursor"] is None
    assert shown["receipts"][0] == about | {
        "id": made[Outcome.REFUSED], "outcome": "refused", "http_status": 401, "code": "secret_invalid",
        "reason": "The secret is wrong.", "execution_id": None, "created_at": "2026-03-01T09:00:03.250Z",
    }  # fmt: skip
    assert shown["receipts"][1]["execution_id"] == made[Outcome.EXECUTED]
    assert shown["receipts"][3] == about | {
        "id": made[Outcome.EXECUTED], "outcome": "executed", "http_status": 202, "code": "", "reason": "",
        "execution_id": made[Outcome.EXECUTED], "created_at": "2026-03-01T09:00:00.250Z",
    }  # fmt: skip


@pytest.mark.parametrize("outcome", list(Outcome))
def test_receipts_are_filtered_by_outcome(
    api: Api, automation: Automation, made: dict[Outcome, str], outcome: Outcome
) -> None:
    assert ids(api, automation, outcome=outcome.value) == [made[outcome]]


def test_receipts_are_filtered_by_time(api: Api, automation: Automation, made: dict[Outcome, str]) -> None:
    span = {"from": "2026-03-01T09:00:01.250Z", "to": "2026-03-01T09:00:03.250Z"}

    assert ids(api, automation, **span) == [made[Outcome.DUPLICATE], made[Outcome.CONDITIONS_NOT_MET]]


def test_pages_go_on_by_cursor(api: Api, automation: Automation, made: dict[Outcome, str]) -> None:
    first = api.get(path_of(automation), limit="3")
    second = api.get(path_of(automation), limit="3", cursor=first["next_cursor"])

    found = [shown["id"] for shown in first["receipts"] + second["receipts"]]
    assert found == list(made.values())[::-1]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"outcome": "lost"}, "outcome"),
        ({"outcome": "\x00"}, "outcome"),
        ({"cursor": "1"}, "cursor"),
        ({"limit": "101"}, "limit"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "to"),
    ],
)
def test_a_parameter_that_is_not_understood_is_refused_by_its_name(
    api: Api, automation: Automation, query: dict[str, str], name: str
) -> None:
    answer = api.ask("GET", f"/v1/{path_of(automation)}", query)

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_parameter")
    assert answer.json()["error"]["message"].startswith(f"{name} ")


def test_receipts_of_an_automation_in_another_project_are_not_found(
    api: Api, automation: Automation, stranger: User
) -> None:
    other = Api(stranger, Organization.objects.get(name="Other").pk)

    assert other.error(path_of(automation)) == (404, "not_found")

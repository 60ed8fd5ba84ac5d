from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from pytest_django import DjangoAssertNumQueries

from automations.models import Automation
from executions.api import views
from executions.models import Execution
from executions.states import Lane, Status, StepStatus
from projects.ids import id_at
from projects.models import Organization, Project
from tests.support.api import START, Api, list_of, make_failed, make_step, path_of

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]
type MakeAutomation = Callable[..., Automation]


@pytest.fixture
def api(builder: User, organization: Organization) -> Api:
    return Api(builder, organization.uid)


@pytest.fixture
def failed(make_execution: MakeExecution) -> Execution:
    return make_failed(make_execution)


# --- one execution


def test_an_execution_has_the_documented_fields_and_ours(api: Api, failed: Execution) -> None:
    shown = api.get(path_of(failed))

    details = shown.pop("details")
    assert shown == {
        "id": str(failed.pk),
        "title": "Orders",
        "project_id": str(failed.project_id),
        "org_id": str(failed.organization_id),
        "rule_id": str(failed.automation_id),
        "trigger_payload_id": str(failed.pk),
        "status": "failed",
        "task": 3,
        "resume": 0,
        "step_name_map": {"fetch": "2", "tell": "3"},
        "duration": 48,
        "created_at": "2026-03-01T09:00:00.238Z",
        "updated_at": "2026-03-01T09:00:00.298Z",
        "attempt": 2,
        "retries_left": 1,
        "reason_code": "http_status",
        "reason": "Answered 503.",
        "version": 1,
        "lane": "direct",
        "started_at": "2026-03-01T09:00:00.250Z",
        "finished_at": "2026-03-01T09:00:00.298Z",
        "payloads_removed_at": None,
        "is_stopping": False,
    }
    assert [(detail["name"], detail["status"], detail.get("group")) for detail in details] == [
        ("1", "success", None),
        ("fetch", "success", "http"),
        ("tell", "failed", "http"),
    ]
    start = round(START.timestamp() * 1000)
    assert details[2] == {
        "start": start, "end": start + 40, "title": "Tell", "name": "tell", "status": "failed", "group": "http",
        "parent": None, "counter": 0,
    }  # fmt: skip


def test_an_execution_that_waits_has_no_times_yet(api: Api, make_execution: MakeExecution) -> None:
    execution = make_execution(lane=Lane.THROTTLED)

    shown = api.get(path_of(execution))

    assert (shown["status"], shown["lane"], shown["details"]) == ("pending", "throttled", [])
    assert shown["duration"] is shown["started_at"] is shown["finished_at"] is None
    assert shown["updated_at"] == shown["created_at"]


@pytest.mark.parametrize("status", Status, ids=lambda status: status.name)
def test_a_status_is_a_word(api: Api, make_execution: MakeExecution, status: Status) -> None:
    execution = make_execution(status=status)

    word = api.get(path_of(execution))["status"]

    assert word == status.label.lower().replace(" ", "_")
    assert [shown["id"] for shown in api.get(list_of(execution), status=word)["executions"]] == [str(execution.pk)]


def test_a_wait_that_is_over_counts_as_a_resume(api: Api, make_execution: MakeExecution) -> None:
    execution = make_execution(status=Status.PAUSED, started_at=START)
    make_step(execution, "first", connector="wait")
    make_step(execution, "second", connector="wait", position=2, status=StepStatus.PAUSED, finished_at=None)

    shown = api.get(path_of(execution))

    assert shown["resume"] == 1
    assert shown["details"][1]["end"] is None


# --- the list


def test_the_list_is_newest_first_and_paged_by_a_cursor(api: Api, make_execution: MakeExecution) -> None:
    made = [make_execution(id=id_at(START + timedelta(seconds=second))) for second in range(5)]
    newest_first = [str(execution.pk) for execution in reversed(made)]

    assert pages(api, list_of(made[0]), limit="2") == [newest_first[:2], newest_first[2:4], newest_first[4:]]
    assert pages(api, list_of(made[0]), limit="5") == [newest_first]
    oldest_first = newest_first[::-1]
    assert pages(api, list_of(made[0]), limit="4", asc="created_at") == [oldest_first[:4], oldest_first[4:]]


def pages(api: Api, path: str, **query: str) -> list[list[str]]:
    found = []
    while True:
        answer = api.get(path, **query)
        found.append([shown["id"] for shown in answer["executions"]])
        if answer["next_cursor"] is None:
            return found
        query["cursor"] = answer["next_cursor"]


def test_the_list_stands_still_under_a_cursor_when_executions_arrive(api: Api, make_execution: MakeExecution) -> None:
    made = [make_execution() for _ in range(3)]
    cursor = api.get(list_of(made[0]), limit="2")["next_cursor"]
    make_execution()

    answer = api.get(list_of(made[0]), limit="2", cursor=cursor)

    assert [shown["id"] for shown in answer["executions"]] == [str(made[0].pk)]


def test_the_list_is_one_projects(
    api: Api, make_execution: MakeExecution, make_automation: MakeAutomation, organization: Organization
) -> None:
    execution = make_execution()
    other = Project.objects.create(organization=organization, name="Second")
    theirs = make_automation("Theirs", project=other)
    make_execution(automation=theirs)

    assert [shown["id"] for shown in api.get(list_of(execution))["executions"]] == [str(execution.pk)]
    assert api.get(list_of(execution), include_count="true")["count"] == 1
    assert api.error(f"{list_of(execution)}?automation={theirs.pk}") == (422, "invalid_parameter")


def test_the_list_is_skipped_into(api: Api, make_execution: MakeExecution) -> None:
    made = [make_execution() for _ in range(3)]

    answer = api.get(list_of(made[0]), skip="1", limit="1")

    assert [shown["id"] for shown in answer["executions"]] == [str(made[1].pk)]


def test_the_list_is_filtered(api: Api, make_execution: MakeExecution, make_automation: MakeAutomation) -> None:
    other = make_automation("Other")
    rows = [
        make_execution(id=id_at(START), status=Status.FAILED),
        make_execution(id=id_at(START + timedelta(hours=1)), status=Status.REJECTED),
        make_execution(id=id_at(START + timedelta(hours=2)), status=Status.FAILED, automation=other),
        make_execution(id=id_at(START + timedelta(hours=3)), status=Status.SUCCESS, automation=other),
    ]

    def found(query: str) -> list[int]:
        ids = [str(row.pk) for row in rows]
        return sorted(ids.index(shown["id"]) for shown in api.get(f"{list_of(rows[0])}?{query}")["executions"])

    assert found("status=failed") == [0, 2]
    assert found("status=failed,%20rejected") == found("status=failed&status=rejected") == [0, 1, 2]
    assert found(f"automation={other.pk}") == [2, 3]
    assert found(f"automation={other.pk}&status=failed") == [2]
    assert found("from=2026-03-01T10:00:00.250Z") == [1, 2, 3]
    assert found("to=2026-03-01T10:00:00.250Z") == [0]
    assert found("from=2026-03-01T10:30:00%2B01:00&to=2026-03-01T11:30:00") == [1, 2]
    assert found("from=2026-03-02") == []
    assert api.get(f"{list_of(rows[0])}?status=failed&include_count=true&limit=1")["count"] == 2


@pytest.mark.parametrize(
    "query",
    [
        "status=error", "status=failed,,broken", "status=0", "automation=x", "cursor=x", "from=yesterday", "to=%00",
        "automation=0192f0c0-0000-7000-8000-000000000000", "asc=title", "desc=updated_at", "limit=101", "skip=10001",
    ],
)  # fmt: skip
def test_a_bad_filter_is_refused_by_its_name(api: Api, project: Project, query: str) -> None:
    answer = api.ask("GET", f"/v1/projects/{project.pk}/executions?{query}")

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_parameter")
    assert answer.json()["error"]["message"].startswith(query.partition("=")[0])


def test_filters_that_contradict_are_refused(api: Api, failed: Execution) -> None:
    assert api.error(f"{list_of(failed)}?from=2026-03-02&to=2026-03-01") == (422, "invalid_parameter")
    assert api.error(f"{list_of(failed)}?cursor={failed.pk}&skip=1") == (422, "invalid_parameter")


def test_an_execution_of_a_deleted_automation_stays(api: Api, failed: Execution, automation: Automation) -> None:
    automation.delete()

    assert [shown["title"] for shown in api.get(list_of(failed), automation=str(automation.pk))["executions"]] == [
        "Orders"
    ]


def test_counting_stops_at_its_limit(api: Api, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "COUNT_LIMIT", 2)
    for _ in range(2):
        make_execution()
    execution = make_execution()

    answer = api.get(list_of(execution), include_count="true")

    assert (answer["count"], answer["count_is_exact"]) == (2, False)


def test_the_list_takes_as_many_queries_for_many_as_for_one(
    api: Api, failed: Execution, make_execution: MakeExecution, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(5):
        make_step(make_execution(status=Status.SUCCESS, started_at=START), "fetch")

    api.get("projects")  # the first use of a token in an hour is noted
    with django_assert_num_queries(6) as captured:  # token, membership, project, its members, executions, step runs
        assert len(api.get(list_of(failed))["executions"]) == 6

    assert not any('"input"' in query["sql"] or '"definition"' in query["sql"] for query in captured)

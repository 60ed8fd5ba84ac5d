"""Polls that are answered ahead of Django, handed to the application as the web server would."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from automations.models import Automation
from executions.log import polls
from executions.log.poll_budget import budget
from executions.models import Execution, StepRun
from executions.models.pace import Pace
from executions.states import Lane, Status, StepStatus
from projects.models import Membership, Project
from tests.support.polling import Poll, advance, advance_the_clock, cookie_of, delta_of, send

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]


def test_a_poll_without_news_takes_one_statement(poll: Poll, log_url: str, make_execution: MakeExecution) -> None:
    asked = delta_of(log_url, make_execution())
    assert poll(asked).status == 204

    assert poll(asked).is_quick


def test_a_changed_row_is_told_at_once(poll: Poll, log_url: str, make_execution: MakeExecution) -> None:
    execution = make_execution()
    asked = delta_of(log_url, execution)
    poll(asked)

    advance(execution, status=Status.SUCCESS)

    assert f"#execution-{execution.pk}" in poll(asked).text
    assert f"#execution-{execution.pk}" in poll(asked).text, "the answer may have been lost on its way"
    assert poll(delta_of(log_url, execution)).is_quick


@pytest.mark.parametrize("more", ["", "status=failed&", "range=24h&"])
def test_a_new_row_is_told_once(poll: Poll, log_url: str, more: str, make_execution: MakeExecution) -> None:
    shown = make_execution(status=Status.FAILED)
    poll(delta_of(log_url, shown, more=more))
    assert poll(delta_of(log_url, shown, more=more)).is_quick

    make_execution(status=Status.FAILED)

    assert "1 new execution<" in poll(delta_of(log_url, shown, more=more)).text
    assert poll(delta_of(log_url, shown, more=more, told="1")).is_quick


def test_a_row_that_matches_only_now_is_told(poll: Poll, log_url: str, make_execution: MakeExecution) -> None:
    shown, other = make_execution(status=Status.FAILED), make_execution(status=Status.RUNNING)
    asked = delta_of(log_url, shown, more="status=failed&")
    poll(asked)
    assert poll(asked).is_quick

    advance(other, status=Status.FAILED)

    assert "1 new execution<" in poll(asked).text


def test_a_page_that_says_99_needs_not_hear_of_more(poll: Poll, log_url: str, make_execution: MakeExecution) -> None:
    shown = make_execution()
    for _ in range(100):
        make_execution()
    told = delta_of(log_url, shown, told="99%2B")
    assert poll(told).status == 204

    make_execution()

    assert poll(told).is_quick


def test_an_older_script_hears_the_same_number_once(poll: Poll, log_url: str, make_execution: MakeExecution) -> None:
    shown = make_execution()
    make_execution()
    asked = f"{log_url}delta/?rows={shown.pk}:1"

    assert "1 new execution<" in poll(asked).text
    assert poll(asked).is_quick
    make_execution()
    assert "2 new executions<" in poll(asked).text


def test_a_place_in_line_is_told_when_the_line_moves(
    poll: Poll, log_url: str, project: Project, make_execution: MakeExecution
) -> None:
    pace = Pace.objects.create(pk=project.organization_id, throttle_at=timezone.now(), direct_minute=timezone.now())
    execution = make_execution(lane=Lane.THROTTLED)
    asked = delta_of(log_url, execution)
    assert f"#execution-{execution.pk}" in poll(asked).text
    assert poll(asked).is_quick

    Pace.objects.filter(pk=pace.pk).update(throttle_at=timezone.now())

    assert f"#execution-{execution.pk}" in poll(asked).text


def test_another_session_never_gets_the_quick_answer(
    poll: Poll, log_url: str, stranger: User, make_execution: MakeExecution
) -> None:
    asked = delta_of(log_url, make_execution())
    poll(asked)
    browser = Client()
    browser.force_login(stranger)

    assert send(asked, cookie=cookie_of(browser)).status == 404
    assert send(asked).status == 302


def test_a_former_member_hears_nothing_new_for_a_minute_at_most(
    poll: Poll, log_url: str, builder: User, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = make_execution()
    asked = delta_of(log_url, execution)
    poll(asked)
    Membership.objects.filter(user=builder).delete()

    assert poll(asked).is_quick
    advance(execution)
    assert poll(asked).status == 404
    advance_the_clock(monkeypatch, polls.REMEMBERED_S + 1)
    assert poll(asked).status == 404


def test_a_remembered_poll_is_checked_again_after_a_minute(
    poll: Poll, log_url: str, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = delta_of(log_url, make_execution())
    poll(asked)

    advance_the_clock(monkeypatch, polls.REMEMBERED_S + 1)

    again = poll(asked)
    assert again.status == 204
    assert len(again.queries) > 1
    assert poll(asked).is_quick


def test_the_page_of_a_running_execution_polls_with_one_statement(
    poll: Poll, log_url: str, make_execution: MakeExecution, make_step: Callable[..., StepRun]
) -> None:
    execution = make_execution(status=Status.RUNNING)
    run = make_step(execution, "fetch", status=StepStatus.RUNNING, finished_at=None)
    page = f"{log_url}{execution.pk}/?attempt=1&seen="
    seen = poll(page + "x").text.partition("seen=")[2].partition('"')[0]
    assert poll(page + seen).status == 204
    assert poll(page + seen).is_quick

    StepRun.objects.filter(execution_id=execution.pk, key=run.key).update(status=StepStatus.SUCCESS)

    assert 'data-status="success"' in poll(page + seen).text


def test_the_requests_of_an_automation_poll_with_one_statement(
    poll: Poll, project: Project, automation: Automation, make_execution: MakeExecution
) -> None:
    execution = make_execution()
    page = f"/projects/{project.pk}/automations/{automation.pk}/requests/delta/"
    asked = f"{page}?rows=balance:0,{execution.pk}:1&told=0"
    assert poll(asked).status == 204
    assert poll(asked).is_quick

    make_execution()

    assert "1 new request<" in poll(asked).text


def test_what_is_remembered_is_bounded(
    poll: Poll, log_url: str, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polls, "REMEMBERED", 3)
    execution = make_execution()
    asked = [delta_of(log_url, execution, more=f"tab={number}&") for number in range(5)]
    for one in asked:
        poll(one)
    budget.forget()

    assert [poll(one).is_quick for one in asked[2:]] == [True] * 3
    assert not poll(asked[0]).is_quick


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT"])
def test_only_a_get_is_a_poll(
    poll: Poll, visitor: Client, log_url: str, method: str, make_execution: MakeExecution
) -> None:
    asked = delta_of(log_url, make_execution())
    poll(asked)

    assert send(asked, method=method).status in (302, 403, 405)


@pytest.mark.parametrize(
    "path",
    ["/projects/", "/projects//delta/", "/projects/x/delta/", "/projects/x/executions/delta/?rows=%FF", "/delta/"],
)
def test_a_path_that_names_no_page_goes_on_to_django(poll: Poll, path: str) -> None:
    assert poll(path).status in (200, 404)

"""Polls: answered ahead of Django where nothing is new, and by a view otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from automations.models import Automation
from executions.log import polls
from executions.log.poll_budget import budget
from executions.models import Execution, StepRun
from executions.models.pace import Pace
from executions.states import Lane, Status, StepStatus
from projects.models import Membership, Project
from tests.support.door import Reply

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]
type Poll = Callable[[str], Asked]


class Asked:
    """One poll's answer, and the statements that it took."""

    def __init__(self, reply: Reply, queries: list[str]) -> None:
        self.status, self.headers, self.text = reply.status, reply.headers, reply.body.decode()
        self.queries = queries

    @property
    def is_quick(self) -> bool:
        """Return whether the store's one statement was enough, which passes Django's recorder by."""
        return self.status == 204 and not self.queries and "retry-after" not in self.headers


@pytest.fixture(autouse=True)
def _nobody_has_asked() -> Iterator[None]:
    yield
    polls.forget()
    budget.forget()


def send(path: str, *, method: str = "GET", cookie: str = "", **headers: str) -> Reply:
    """Ask as the web server does, in this thread, whose transaction holds the test's rows."""
    address, _, query = path.partition("?")
    asked = {"REQUEST_METHOD": method, "PATH_INFO": address, "QUERY_STRING": query, "HTTP_COOKIE": cookie}
    if answer := polls.answer(asked):
        return Reply(204, {name.lower(): value for name, value in answer.headers}, b"")
    response = Client().generic(method, path, HTTP_COOKIE=cookie, **headers)
    given = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, given, response.content)


@pytest.fixture
def poll(visitor: Client) -> Poll:
    """Return the builder's browser: it polls as the page's script does."""

    def ask(path: str) -> Asked:
        cookie = f"{settings.SESSION_COOKIE_NAME}={visitor.cookies[settings.SESSION_COOKIE_NAME].value}"
        with CaptureQueriesContext(connection) as captured:
            reply = send(path, cookie=cookie, HTTP_HX_REQUEST="true")
        return Asked(reply, [query["sql"] for query in captured.captured_queries])

    return ask


def delta_of(log_url: str, *shown: Execution, told: str = "0", more: str = "") -> str:
    return f"{log_url}delta/?{more}rows={','.join(f'{one.pk}:{one.rev}' for one in shown)}&told={told}"


def advance(execution: Execution, **fields: Any) -> None:
    Execution.objects.filter(pk=execution.pk).update(rev=execution.rev + 1, **fields)
    execution.refresh_from_db()


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
    cookie = f"{settings.SESSION_COOKIE_NAME}={browser.cookies[settings.SESSION_COOKIE_NAME].value}"

    assert send(asked, cookie=cookie).status == 404
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


def advance_the_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + seconds)


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


def test_full_answers_have_a_budget(
    poll: Poll, log_url: str, project: Project, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance_the_clock(monkeypatch, 0)  # and stop it: no debt is paid
    execution = make_execution(rev=2)
    asked = f"{log_url}delta/?rows={execution.pk}:1"
    later = poll(asked)
    assert later.status == 200
    while later.status == 200:  # its row has changed
        later = poll(asked)

    assert (later.status, later.queries) == (204, [])
    assert 1 <= int(later.headers["retry-after"]) <= 30
    other = Project.objects.create(organization=project.organization, name="Second")
    assert poll(f"/projects/{other.pk}/executions/delta/?rows=").status == 204, "unknown as yet"
    assert int(poll(f"/projects/{other.pk}/executions/delta/?rows=&told=1").headers["retry-after"]) >= 1
    advance_the_clock(monkeypatch, 30)
    assert poll(asked).status == 200


def test_a_page_is_shown_though_the_budget_of_polls_is_used_up(
    poll: Poll, log_url: str, automation: Automation, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance_the_clock(monkeypatch, 0)
    execution = make_execution(rev=2)
    while poll(f"{log_url}delta/?rows={execution.pk}:1").status == 200:
        pass

    builder = f"/projects/{execution.project_id}/automations/"
    for page in (log_url, f"{log_url}?seen=", f"{log_url}{execution.pk}/", f"{builder}?q=seen=", builder):
        assert poll(page).status == 200


def test_a_budget_used_up_by_one_organization_leaves_another_its_own(
    poll: Poll, log_url: str, stranger: User, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance_the_clock(monkeypatch, 0)
    asked = f"{log_url}delta/?rows={make_execution(rev=2).pk}:1"
    while poll(asked).status == 200:
        pass
    browser = Client()
    browser.force_login(stranger)
    cookie = f"{settings.SESSION_COOKIE_NAME}={browser.cookies[settings.SESSION_COOKIE_NAME].value}"
    theirs = f"/projects/{Project.objects.get(name='Elsewhere').pk}/executions/delta/?rows="

    for _ in range(5):
        answer = send(theirs, cookie=cookie)
        assert (answer.status, answer.headers.get("retry-after")) == (204, None)


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

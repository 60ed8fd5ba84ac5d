"""The budget of full answers to polls, and that nothing else has to keep it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from executions.models import Execution
from projects.models import Project
from tests.support.polling import Poll, advance_the_clock, cookie_of, send

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]


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
    poll: Poll, log_url: str, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
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
    theirs = f"/projects/{Project.objects.get(name='Elsewhere').pk}/executions/delta/?rows="

    for _ in range(5):
        answer = send(theirs, cookie=cookie_of(browser))
        assert (answer.status, answer.headers.get("retry-after")) == (204, None)

"""The rows that have changed since they were shown, and the count of new ones."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.test import Client

from automations.models import Automation
from executions.models import Execution
from executions.states import Status
from projects.models import Project
from tests.support.pages import rows, text_of

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]
type MakeAutomation = Callable[..., Automation]


def test_delta_is_empty_when_nothing_has_changed(visitor: Client, log_url: str, make_execution: MakeExecution) -> None:
    execution = make_execution()

    answer = visitor.get(f"{log_url}delta/?rows={execution.pk}:1")

    assert (answer.status_code, answer.content) == (204, b"")


def test_delta_brings_the_rows_that_have_changed(visitor: Client, log_url: str, make_execution: MakeExecution) -> None:
    changed, unchanged = make_execution(status=Status.SUCCESS, rev=3), make_execution()

    html = visitor.get(f"{log_url}delta/?rows={changed.pk}:1,{unchanged.pk}:1&status=pending").content.decode()

    assert f'<hx-partial hx-target="#execution-{changed.pk}" hx-swap="outerMorph">' in html
    assert str(unchanged.pk) not in html
    assert 'data-status="success"' in html
    assert "new execution" not in html


def test_delta_counts_new_executions_that_match(visitor: Client, log_url: str, make_execution: MakeExecution) -> None:
    shown = make_execution(status=Status.FAILED)
    make_execution(status=Status.FAILED)
    make_execution(status=Status.SUCCESS)

    html = text_of(visitor, f"{log_url}delta/?rows={shown.pk}:1&status=failed")

    assert 'hx-target="#live-new"' in html
    assert "1 new execution<" in html
    assert f'href="{log_url}?status=failed"' in html


def test_delta_counts_no_further_than_99(visitor: Client, log_url: str, make_execution: MakeExecution) -> None:
    for _ in range(101):
        make_execution()

    assert "99+ new executions" in text_of(visitor, f"{log_url}delta/")


def test_delta_does_not_count_what_stands_on_older_pages(
    visitor: Client, log_url: str, make_execution: MakeExecution
) -> None:
    for _ in range(52):
        make_execution()
    shown = ",".join(f"{uid}:1" for uid in rows(visitor, log_url))

    assert visitor.get(f"{log_url}delta/?rows={shown}").status_code == 204


def test_delta_of_an_older_page_counts_nothing_new(
    visitor: Client, log_url: str, make_execution: MakeExecution
) -> None:
    execution = make_execution()
    make_execution()

    assert visitor.get(f"{log_url}delta/?rows={execution.pk}:1&before={execution.pk}").status_code == 204


@pytest.mark.parametrize("junk", ["", "x", "x:y", "%00:1", f"{uuid.UUID(int=1)}:{'9' * 30}", ",,,:"])
def test_delta_leaves_out_what_it_does_not_understand(visitor: Client, log_url: str, junk: str) -> None:
    assert visitor.get(f"{log_url}delta/?rows={junk}").status_code == 204


def test_delta_never_brings_rows_of_another_project(
    visitor: Client, log_url: str, project: Project, make_automation: MakeAutomation, make_execution: MakeExecution
) -> None:
    other = Project.objects.create(organization=project.organization, name="Second")
    foreign = make_execution(automation=make_automation("Foreign", project=other), rev=5)

    assert visitor.get(f"{log_url}delta/?rows={foreign.pk}:1").status_code == 204

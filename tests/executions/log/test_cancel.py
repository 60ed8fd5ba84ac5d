"""Cancel by its button and by the API."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from executions.models import Execution
from executions.states import Status
from tests.executions.models.test_stopping import now_of
from tests.support.api import Api, path_of

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]

AJAX = {"HX-Request": "true", "HX-Request-Type": "partial"}


def cancel_url(execution: Execution) -> str:
    return f"/projects/{execution.project_id}/executions/{execution.pk}/cancel/"


def test_the_button_cancels_and_says_so(make_execution: MakeExecution, builder: User, client: Client) -> None:
    execution = make_execution()
    client.force_login(builder)

    answer = client.post(cancel_url(execution), {"attempt": "1"}, headers=AJAX)

    assert "Cancelled by builder before it started." in answer.content.decode()
    assert "Cancelled. The execution has ended." in answer["HX-Trigger"]
    assert now_of(execution).state is Status.REJECTED


def test_the_button_works_without_scripts(make_execution: MakeExecution, builder: User, client: Client) -> None:
    execution = make_execution(status=Status.RUNNING)
    client.force_login(builder)

    answer = client.post(cancel_url(execution), follow=True)

    html = answer.content.decode()
    assert (
        "The execution stops before its next step; one that begins within 2 seconds may still run." in html
        and "Cancelled by builder" in html
    )
    assert "Cancel execution" not in html


def test_the_button_says_what_had_happened_meanwhile(
    make_execution: MakeExecution, builder: User, client: Client
) -> None:
    execution = make_execution(status=Status.SUCCESS)
    client.force_login(builder)

    answer = client.post(cancel_url(execution), {"attempt": "1"}, headers=AJAX)

    assert "This execution has already ended: it is Success." in answer.content.decode()
    assert "HX-Trigger" not in answer


def test_cancel_is_not_for_others(make_execution: MakeExecution, stranger: User, client: Client) -> None:
    execution = make_execution()
    assert client.post(cancel_url(execution)).status_code == 302
    client.force_login(stranger)

    assert client.post(cancel_url(execution)).status_code == 404
    assert client.get(cancel_url(execution)).status_code == 405
    assert now_of(execution).state is Status.PENDING


def test_the_api_cancels(make_execution: MakeExecution, builder: User, stranger: User) -> None:
    waiting, running, ended = make_execution(), make_execution(status=Status.RUNNING), make_execution(status=3)
    api = Api(builder, waiting.organization_id)

    def path(one: Execution) -> str:
        return f"/v1/{path_of(one, '/cancel')}"

    answers = [api.ask("POST", path(one)) for one in (waiting, waiting, running, ended)]

    assert [answer.status_code for answer in answers] == [202, 202, 202, 409]
    shown = [(answer.json()["status"], answer.json()["is_stopping"]) for answer in answers[:3]]
    assert shown == [("rejected", False), ("rejected", False), ("running", True)]
    assert answers[3].json()["error"]["code"] == "already_ended"
    assert "it is Success" in answers[3].json()["error"]["message"]
    assert Api(stranger, waiting.organization_id).ask("POST", path(running)).status_code == 403
    assert api.ask("GET", path(running)).status_code == 405

"""Payloads go before their executions, and people are told where something was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from executions import sealed_json
from executions.models import Execution, Payload, StepRun
from executions.models.retry import RetryRefused
from executions.states import Status
from tests.support.api import Api, make_step
from tests.support.markup import compact
from tests.support.retention import remove

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("compact", "kept")]

type MakeOld = Callable[..., Execution]

LARGE = '"' + "x" * sealed_json.ROW_LIMIT + '"'


def test_payloads_go_before_their_execution_and_leave_their_size(make_old: MakeOld) -> None:
    old, young = make_old(31), make_old(29)
    large = {"execution": old, "organization_id": old.organization_id, "key": "large", "attempt": 1}
    make_step(old, "large", position=2, output=LARGE[:100], output_bytes=len(LARGE))
    Payload.objects.create(**large, side="output", body=LARGE)

    assert remove().payloads == 1
    run = StepRun.objects.get(execution=old, key="large")
    assert (run.output, run.output_bytes, run.is_removed("output"), run.shown("output")) == (
        None, len(LARGE), True, None,
    )  # fmt: skip
    assert not Payload.objects.filter(execution=old).exists()
    assert StepRun.objects.get(execution=old, key="fetch").error == "kept words"
    assert Execution.objects.get(pk=old.pk).payloads_removed_at is not None
    assert StepRun.objects.get(execution=young, key="fetch").shown("output") == '{"ok":true}'
    assert remove().payloads == 0


def test_payloads_of_one_that_ends_late_go_when_it_has_ended(make_old: MakeOld) -> None:
    late, ended = make_old(40, status=Status.PAUSED), make_old(35)

    assert remove().payloads == 1
    Execution.objects.filter(pk=late.pk).update(status=Status.SUCCESS)
    assert remove().payloads == 1
    assert [one.payloads_removed_at is None for one in Execution.objects.filter(pk__in=[late.pk, ended.pk])] == [
        False, False,
    ]  # fmt: skip


def test_the_page_says_that_retention_removed_a_payload(client: Client, builder: User, make_old: MakeOld) -> None:
    client.force_login(builder)
    execution = make_old(31)
    page = f"/projects/{execution.project_id}/executions/{execution.pk}/"
    remove()

    trigger = compact(client.get(f"{page}steps/0/trigger/input/").content.decode())
    fetched = compact(client.get(f"{page}steps/1/fetch/output/").content.decode())

    says = f"Removed by retention on {timezone.now():%-d %B %Y}."
    assert says in trigger and says in fetched
    assert "Download" not in trigger
    assert client.get(f"{page}steps/1/fetch/output/?download=1").status_code == 404
    assert client.get(page).status_code == 200


def test_the_api_tells_a_removed_payload_from_one_that_never_was(builder: User, make_old: MakeOld) -> None:
    execution = make_old(31)
    make_step(execution, "silent", position=2, output=None)
    remove()
    api = Api(builder, execution.organization_id)
    path = f"projects/{execution.project_id}/executions"

    fetch, silent = (api.get(f"{path}/{execution.pk}/steps", key=key)["steps"][0] for key in ("fetch", "silent"))

    assert (fetch["output"], fetch["output_is_whole"], fetch["output_is_removed"]) == (None, False, True)
    assert (silent["output"], silent["output_is_whole"], silent["output_is_removed"]) == (None, True, False)
    assert api.get(f"{path}/{execution.pk}")["payloads_removed_at"] is not None


def test_a_retry_is_refused_when_its_payload_was_removed(make_old: MakeOld, builder: User) -> None:
    execution = make_old(31, status=Status.FAILED)
    assert execution.retry_refusal() is None
    remove()

    with pytest.raises(RetryRefused, match="Retention removed the payload of this execution on") as refused:
        execution.retry(builder)

    assert refused.value.code == "payload_removed"
    assert Execution.objects.get(pk=execution.pk).attempt == 1

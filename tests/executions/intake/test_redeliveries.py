"""A delivery that comes again: how it is known, the status that it is answered with, and what it starts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from automations.models import Automation
from executions.models import Attempt, Delivery, Execution, Receipt
from executions.states import Status
from harness.factory import publish
from tests.executions.intake.test_deliveries import post
from tests.support.door import Reply

pytestmark = pytest.mark.django_db(transaction=True)

RESPONSE: dict[str, Any] = {"key": "answer", "connector": "response", "action": "send", "input": {}}
KEY = {"HTTP_IDEMPOTENCY_KEY": "order-17"}
SLACK = {"type": "event_callback", "event_id": "Ev1", "event": {"type": "message"}}
KNOWN: dict[str, tuple[dict[str, str], Any]] = {
    "Svix": ({"HTTP_SVIX_ID": "msg_1"}, {}),
    "Shopify": ({"HTTP_X_SHOPIFY_WEBHOOK_ID": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"}, {}),
    "SNS": ({"HTTP_X_AMZ_SNS_MESSAGE_ID": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b"}, {}),
    "Slack": ({"HTTP_X_SLACK_SIGNATURE": "v0=0", "HTTP_X_SLACK_RETRY_NUM": "1"}, SLACK),
}
UNKNOWN: dict[str, tuple[dict[str, str], Any]] = {
    "an event's UUID of GitLab, which a chain of events shares": ({"HTTP_X_GITLAB_EVENT_UUID": "u"}, {}),
    "an event's id without Slack's signature": ({}, SLACK),
    "a request of Slack that is no event": ({"HTTP_X_SLACK_SIGNATURE": "v0=0"}, {"event_id": "Ev1"}),
}
OWN: dict[str, tuple[str, dict[str, str], Any]] = {
    "a header": ("X-Request-Id", {"HTTP_X_REQUEST_ID": "r1"}, {}),
    "a text in the body": ("trigger.body.event.id", {}, {"event": {"id": "e1"}}),
    "a number in the body": ('trigger.body["event-id"]', {}, {"event-id": 12345678901234567890}),
    "a long text with anything in it": ("trigger.body.id", {}, {"id": "ü, " * 400}),
    "before a known one": ("X-Request-Id", {"HTTP_X_REQUEST_ID": "r1", "HTTP_WEBHOOK_ID": "other"}, {}),
    "a known one where it is missing": ("X-Request-Id", {"HTTP_WEBHOOK_ID": "msg_1"}, {}),
}


def configure(automation: Automation, **config: Any) -> None:
    publish(automation, config=config)


@pytest.mark.parametrize(("headers", "body"), KNOWN.values(), ids=KNOWN)
def test_the_ids_of_known_senders_are_known(automation: Automation, headers: dict[str, str], body: Any) -> None:
    first, second = post(automation, body, **headers), post(automation, body, **headers)

    assert first.status == second.status == 202
    assert first.json["execution_id"] == second.json["execution_id"]
    assert Execution.objects.count() == 1


@pytest.mark.parametrize(("headers", "body"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_no_id_of_a_delivery_is_not_taken_for_one(
    automation: Automation, headers: dict[str, str], body: Any
) -> None:
    assert [post(automation, body, **headers).status for _ in range(2)] == [202, 202]
    assert Execution.objects.count() == 2


@pytest.mark.parametrize(("where", "headers", "body"), OWN.values(), ids=OWN)
def test_a_triggers_own_id_is_known(automation: Automation, where: str, headers: dict[str, str], body: Any) -> None:
    configure(automation, delivery_id=where)

    replies = [post(automation, body, **headers) for _ in range(2)]

    assert len({reply.json["execution_id"] for reply in replies}) == 1
    assert Delivery.objects.count() == 1


@pytest.mark.parametrize("body", [{"id": None}, {"id": True}, {"id": {"a": 1}}, {"id": ""}, {}, []], ids=str)
def test_a_body_without_the_own_id_is_never_a_duplicate(automation: Automation, body: Any) -> None:
    configure(automation, delivery_id="trigger.body.id")

    assert [post(automation, body).status for _ in range(2)] == [202, 202]
    assert Execution.objects.count() == 2


@pytest.mark.parametrize("status", Status, ids=lambda status: status.name)
def test_a_repetition_is_answered_with_the_true_status(automation: Automation, status: Status) -> None:
    first = post(automation, {}, **KEY)
    Execution.objects.update(status=status, attempt=3)

    again = post(automation, {}, **KEY)

    assert first.json["status"] == "pending"
    assert (again.status, again.json["status"]) == (202, status.code)
    assert again.headers["idempotency-replayed"] == "true"
    assert Execution.objects.count() == 1


def test_what_retention_has_removed_is_answered_as_removed(automation: Automation) -> None:
    post(automation, {}, **KEY)
    Execution.objects.all().delete()

    assert post(automation, {}, **KEY).json["status"] == "removed"


def test_a_failed_execution_is_retried_as_often_as_it_may_be(automation: Automation) -> None:
    first = post(automation, {"id": 7}, **KEY)

    answers = []
    for _ in range(4):
        Execution.objects.update(status=Status.FAILED)
        answers.append(post(automation, {"id": 7}, **KEY).json)

    assert [answer["status"] for answer in answers] == ["pending", "pending", "failed", "failed"]
    assert {answer["execution_id"] for answer in answers} == {first.json["execution_id"]}
    assert [attempt.retried_by_id for attempt in Attempt.objects.order_by("number")] == [None, None]
    assert Receipt.objects.count() == 4


def test_a_repetition_with_another_body_retries_nothing(automation: Automation) -> None:
    post(automation, {"id": 7}, **KEY)
    Execution.objects.update(status=Status.FAILED)

    assert post(automation, {"id": 8}, **KEY).code == "idempotency_key_reused"
    assert Execution.objects.get().attempt == 1


def test_a_failed_execution_is_retried_once_when_many_repeat_it_at_once(automation: Automation) -> None:
    post(automation, {}, **KEY)
    Execution.objects.update(status=Status.FAILED)

    def repeat(_: int) -> Reply:
        try:
            return post(automation, {}, **KEY)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(repeat, range(8)))

    assert {(reply.status, reply.json["status"]) for reply in replies} == {(202, "pending")}
    assert Execution.objects.get().attempt == 2


ENDED: dict[str, tuple[list[dict[str, Any]] | None, dict[str, Any], bool]] = {
    "rejected": (None, {"status": Status.REJECTED, "reason_code": "time_limit"}, True),
    "cancelled": (None, {"status": Status.REJECTED, "reason_code": "cancelled"}, False),
    "success": (None, {"status": Status.SUCCESS}, False),
    "running": (None, {"status": Status.RUNNING}, False),
    "partially executed": (None, {"status": Status.PARTIALLY_EXECUTED}, False),
}


@pytest.mark.parametrize("is_on", [False, True])
@pytest.mark.parametrize(("steps", "ended", "starts"), ENDED.values(), ids=ENDED)
def test_a_new_execution_starts_only_if_the_trigger_says_so(
    automation: Automation, steps: Any, ended: dict[str, Any], starts: bool, is_on: bool
) -> None:
    configure(automation, **({"starts_again": True} if is_on else {}))
    first = post(automation, {}, **KEY)
    Execution.objects.update(**ended)

    again, third = post(automation, {}, **KEY), post(automation, {}, **KEY)

    is_new = again.json["execution_id"] != first.json["execution_id"]
    assert is_new is (starts and is_on)
    assert ("idempotency-replayed" not in again.headers) is is_new
    assert third.json["execution_id"] == again.json["execution_id"]
    assert third.headers["idempotency-replayed"] == "true"
    assert Execution.objects.count() == 1 + is_new


def test_one_of_many_repetitions_at_once_starts_the_new_execution(automation: Automation) -> None:
    configure(automation, starts_again=True)
    post(automation, {}, **KEY)
    Execution.objects.update(status=Status.REJECTED)

    def repeat(_: int) -> Any:
        try:
            return post(automation, {}, **KEY).json["execution_id"]
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(repeat, range(8)))

    assert len(ids) == 1
    assert Execution.objects.count() == 2


@pytest.mark.parametrize("is_on", [False, True])
def test_a_failed_execution_that_answers_its_caller_starts_anew(
    make_automation: Callable[..., Automation], is_on: bool, settings: Any
) -> None:
    settings.REPLY_LIMIT_S = 0.05
    automation = make_automation("Answers", steps=[RESPONSE], is_open=True)
    configure(automation, starts_again=is_on)
    first = post(automation, {}, **KEY)
    Execution.objects.update(status=Status.FAILED)

    again = post(automation, {}, **KEY)

    assert (first.code, again.code) == ("reply_timeout", "reply_timeout" if is_on else "no_reply")
    assert Execution.objects.count() == 1 + is_on

"""Duplicates, receipts and starts a minute: what becomes of each request at a trigger URL."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from automations.models import Automation
from executions.intake import acceptance
from executions.models import Delivery, Execution, Outcome, Pace, Receipt, ReceiptDay
from executions.states import Lane
from harness.factory import publish
from tests.support.door import Reply, send, url_of

pytestmark = pytest.mark.django_db(transaction=True)

STRIPE = {"HTTP_STRIPE_SIGNATURE": "t=1,v1=0"}
IDS = {
    "Idempotency-Key": ({"HTTP_IDEMPOTENCY_KEY": "order-17"}, {}),
    "webhook-id": ({"HTTP_WEBHOOK_ID": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"}, {}),
    "GitHub": ({"HTTP_X_GITHUB_DELIVERY": "72d3162e-cc78-11e3-81ab-4c9367dc0958"}, {}),
    "Stripe": (STRIPE, {"object": "event", "id": "evt_1"}),
    "255 characters": ({"HTTP_IDEMPOTENCY_KEY": "k" * 255}, {}),
}
BAD_IDS = {
    "S13 empty": "",
    "S13 256 characters": "k" * 256,
    "S13 10 000 characters": "k" * 10_000,
    "S13 not ASCII": "schlüssel",
    "S13 two headers": "one,two",
    "a space": "one two",
}


def post(automation: Automation, body: object, **environ: Any) -> Reply:
    return send(url_of(automation), json.dumps(body).encode(), **environ)


def received() -> dict[str, int]:
    return {row["outcome"]: row["total"] for row in ReceiptDay.objects.values("outcome").annotate(total=Sum("count"))}


@pytest.mark.parametrize(("headers", "body"), IDS.values(), ids=IDS.keys())
def test_a_delivery_that_comes_again_starts_nothing(
    automation: Automation, headers: dict[str, str], body: dict[str, str]
) -> None:
    first, second = post(automation, body, **headers), post(automation, body, **headers)

    assert (first.status, second.status) == (202, 202)
    assert second.json == first.json
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert Execution.objects.count() == 1
    receipt = Receipt.objects.get()
    assert (receipt.outcome, str(receipt.execution_id)) == (Outcome.DUPLICATE, first.json["execution_id"])


def test_requests_without_an_id_are_never_taken_for_duplicates(automation: Automation) -> None:
    assert [post(automation, {}).status for _ in range(2)] == [202, 202]
    assert Execution.objects.count() == 2


@pytest.mark.parametrize("key", BAD_IDS.values(), ids=BAD_IDS.keys())
def test_an_id_that_cannot_be_one_is_refused(automation: Automation, key: str) -> None:
    reply = post(automation, {}, HTTP_IDEMPOTENCY_KEY=key)

    assert (reply.status, reply.code) == (400, "invalid_idempotency_key")
    assert not Execution.objects.exists()


def test_an_idempotency_key_with_another_body_is_refused(automation: Automation) -> None:
    post(automation, {"total": 1}, HTTP_IDEMPOTENCY_KEY="a")
    reply = post(automation, {"total": 2}, HTTP_IDEMPOTENCY_KEY="a")

    assert (reply.status, reply.code) == (422, "idempotency_key_reused")
    assert Execution.objects.count() == 1
    assert Receipt.objects.get().code == "idempotency_key_reused"


def test_a_sender_that_changes_a_repeated_delivery_gets_the_first_execution(automation: Automation) -> None:
    first = post(automation, {"try": 1}, HTTP_X_GITHUB_DELIVERY="a")
    second = post(automation, {"try": 2}, HTTP_X_GITHUB_DELIVERY="a")

    assert second.json["execution_id"] == first.json["execution_id"]


def test_the_same_id_at_another_trigger_starts_another(make_automation: object, automation: Automation) -> None:
    other = make_automation("Other")  # type: ignore[operator]
    other.remove_secret()

    replies = [post(of, {}, HTTP_IDEMPOTENCY_KEY="a") for of in (automation, other)]

    assert len({reply.json["execution_id"] for reply in replies}) == 2


def test_an_id_is_forgotten_after_the_organizations_window(automation: Automation) -> None:
    post(automation, {}, HTTP_IDEMPOTENCY_KEY="a")
    delivery = Delivery.objects.get()
    left = delivery.expires_at - timezone.now()
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)

    Delivery.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    reply = post(automation, {"other": "body"}, HTTP_IDEMPOTENCY_KEY="a")

    assert reply.status == 202
    assert Execution.objects.count() == 2


def test_a_request_over_the_limit_may_come_again_with_its_id(automation: Automation) -> None:
    organization = automation.organization
    organization.hard_limit = 0
    organization.save()
    assert post(automation, {}, HTTP_IDEMPOTENCY_KEY="a").status == 429

    organization.hard_limit = None
    organization.save()
    assert post(automation, {}, HTTP_IDEMPOTENCY_KEY="a").status == 202


def test_fifty_deliveries_at_once_make_one_execution(automation: Automation) -> None:
    def deliver(_: int) -> Reply:
        try:
            return post(automation, {}, HTTP_IDEMPOTENCY_KEY="a")
        finally:
            connection.close()  # of this thread

    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(deliver, range(50)))

    assert {reply.status for reply in replies} == {202}
    assert {reply.json["execution_id"] for reply in replies} == {str(Execution.objects.get().pk)}
    assert received() == {"executed": 1, "duplicate": 49}


def test_every_request_leaves_a_receipt(automation: Automation) -> None:
    publish(automation, conditions={"all": [{"path": "trigger.body.type", "op": "equals", "value": "order"}]})
    order = {"type": "order"}

    post(automation, order, HTTP_IDEMPOTENCY_KEY="a")
    post(automation, order, HTTP_IDEMPOTENCY_KEY="a")
    post(automation, {"type": "other"})
    send(url_of(automation), b"{", "application/json")
    send(url_of(automation), b"{}", method="PUT")

    assert received() == {"executed": 1, "duplicate": 1, "conditions_not_met": 1, "refused": 2}
    kept = Receipt.objects.order_by("id").values_list("outcome", "http_status", "code")
    assert list(kept) == [
        ("duplicate", 202, "duplicate"), ("conditions_not_met", 200, "conditions_not_met"),
        ("refused", 400, "invalid_json"), ("refused", 405, "method_not_allowed"),
    ]  # fmt: skip


def test_a_flood_of_refusals_is_counted_and_not_all_written_down(
    automation: Automation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "WRITTEN_A_MINUTE", 3)

    for _ in range(8):
        send(url_of(automation), b"{", "application/json")

    assert received() == {"refused": 8}
    assert Receipt.objects.count() in (3, 4, 5, 6)  # a minute may end meanwhile


def test_direct_starts_beyond_the_minutes_limit_wait_for_a_later_one(automation: Automation) -> None:
    organization = automation.organization
    organization.direct_limit = 2
    organization.save()
    minute = (datetime.now(UTC) + timedelta(hours=1)).replace(second=0, microsecond=0)
    Pace.objects.create(
        organization_id=organization.pk, throttle_at=timezone.now(), direct_minute=minute, direct_used=1
    )

    for _ in range(4):
        post(automation, {})

    placed = Counter(Execution.objects.values_list("run_at", "reason_code"))
    assert placed == {
        (minute, "direct_limit"): 1,
        (minute + timedelta(minutes=1), "direct_limit"): 2,
        (minute + timedelta(minutes=2), "direct_limit"): 1,
    }


def test_direct_starts_within_the_limit_run_at_once(automation: Automation) -> None:
    before = timezone.now() - timedelta(seconds=1)

    assert [post(automation, {}).status for _ in range(3)] == [202] * 3

    assert all(before < run_at < timezone.now() for run_at in Execution.objects.values_list("run_at", flat=True))
    assert Pace.objects.get().direct_used in (1, 2, 3)


def test_a_throttled_automation_waits_in_the_throttled_lane(automation: Automation) -> None:
    automation.change(is_throttled=True)

    post(automation, {})

    assert Execution.objects.get().lane == Lane.THROTTLED
    assert Pace.objects.exists()

"""The requests of an automation: what became of each, in one list, and the sum above it."""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from automations.models import Automation
from executions.log import delta, requests
from executions.models import Execution, Outcome, Receipt, ReceiptDay
from executions.states import Lane, Status
from projects.ids import id_at
from tests.support.markup import compact

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]
type MakeReceipt = Callable[..., Receipt]


@pytest.fixture
def make_receipt(automation: Automation) -> MakeReceipt:
    def make(outcome: Outcome = Outcome.REFUSED, **fields: Any) -> Receipt:
        of = fields.pop("automation", automation)
        values = {
            "organization_id": of.organization_id, "project_id": of.project_id, "automation": of,
            "trigger": of.trigger, "outcome": outcome,
        }  # fmt: skip
        return Receipt.objects.create(**values | fields)

    return make


def count(automation: Automation, outcome: Outcome, number: int, *, days_ago: int = 0, shard: int = 0) -> None:
    ReceiptDay.objects.create(
        organization_id=automation.organization_id, automation=automation, outcome=outcome, count=number, shard=shard,
        day=datetime.now(UTC).date() - timedelta(days=days_ago),
    )  # fmt: skip


def url_of(automation: Automation, rest: str = "") -> str:
    return f"/projects/{automation.project_id}/automations/{automation.pk}/requests/{rest}"


def text_of(client: Client, automation: Automation, query: str = "") -> str:
    answer = client.get(url_of(automation, query))
    assert answer.status_code == 200
    return html.unescape(compact(answer.content.decode()))


def rows_of(text: str) -> list[str]:
    return re.findall(r'<tr id="request-([0-9a-f-]+)"', text)


def sum_of(text: str) -> list[tuple[str, str]]:
    """Return the terms of the sum: each number and what it counts."""
    return re.findall(r"<strong>([\d,]+)</strong><span>([a-z ]+)</span>", text)


def test_executions_and_receipts_are_one_list_newest_first(
    visitor: Client, automation: Automation, make_execution: MakeExecution, make_receipt: MakeReceipt
) -> None:
    made = [make_execution(), make_receipt(), make_execution(), make_receipt(Outcome.CONDITIONS_NOT_MET)]

    assert rows_of(text_of(visitor, automation)) == [str(one.pk) for one in reversed(made)]


def test_line_says_what_was_answered_and_why(
    visitor: Client, automation: Automation, make_execution: MakeExecution, make_receipt: MakeReceipt
) -> None:
    first = make_execution(status=Status.SUCCESS)
    make_execution(status=Status.FAILED, lane=Lane.SYNC)
    make_receipt(Outcome.REFUSED, http_status=401, code="secret_invalid", reason="The secret <b> is wrong.")
    make_receipt(Outcome.DUPLICATE, http_status=202, execution_id=first.pk)
    make_receipt(Outcome.DUPLICATE, http_status=202, execution_id=uuid.uuid4())

    lines = text_of(visitor, automation).split("<tr id=")[1:]

    assert "Duplicate" in lines[0]
    assert "First delivery, no longer kept" in lines[0]
    assert f'href="/projects/{automation.project_id}/executions/{first.pk}/"' in lines[1]
    assert "This delivery has been received before." in lines[1]
    assert ">401<" in lines[2]
    assert "The secret <b> is wrong." in lines[2]
    assert ">reply<" in lines[3]
    assert ">202<" in lines[4]
    assert "<span>Success</span>" in lines[4]


def test_reason_is_shown_as_text(visitor: Client, automation: Automation, make_receipt: MakeReceipt) -> None:
    make_receipt(reason="<script>alert(1)</script>")

    assert b"<script>alert(1)" not in visitor.get(url_of(automation)).content


@pytest.mark.parametrize("outcome", list(Outcome))
def test_list_is_filtered_by_outcome(
    visitor: Client,
    automation: Automation,
    make_execution: MakeExecution,
    make_receipt: MakeReceipt,
    outcome: Outcome,
) -> None:
    made = {Outcome.EXECUTED: str(make_execution().pk)}
    made |= {other: str(make_receipt(other).pk) for other in Outcome if other is not Outcome.EXECUTED}

    assert rows_of(text_of(visitor, automation, f"?outcome={outcome}")) == [made[outcome]]


@pytest.mark.parametrize(("period", "days"), [("today", [0]), ("7d", [0, 6]), ("30d", [0, 6, 7, 29]), ("", [0, 6])])
def test_list_and_sum_are_of_the_same_days(
    visitor: Client, automation: Automation, make_receipt: MakeReceipt, period: str, days: list[int]
) -> None:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    made = {}
    for ago in (0, 6, 7, 29, 30):
        made[ago] = str(make_receipt(id=id_at(midnight - timedelta(days=ago))).pk)
        count(automation, Outcome.REFUSED, 1, days_ago=ago)

    shown = text_of(visitor, automation, f"?period={period}")

    assert rows_of(shown) == [made[ago] for ago in days]
    assert sum_of(shown)[0] == (str(len(days)), "received")


def test_sum_comes_out_even_and_counts_no_rows(
    visitor: Client, automation: Automation, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    count(automation, Outcome.EXECUTED, 1000, shard=0)
    count(automation, Outcome.EXECUTED, 234, shard=1)
    count(automation, Outcome.CONDITIONS_NOT_MET, 20, days_ago=1)
    count(automation, Outcome.DUPLICATE, 3)

    with django_assert_num_queries(8) as asked:
        shown = text_of(visitor, automation)

    assert sum_of(shown) == [
        ("1,257", "received"), ("1,234", "executed"), ("20", "conditions not met"), ("3", "duplicate"),
        ("0", "refused"),
    ]  # fmt: skip
    assert not any("COUNT(" in query["sql"].upper() for query in asked.captured_queries)


def test_requests_are_those_of_one_automation(
    visitor: Client,
    automation: Automation,
    make_automation: Callable[..., Automation],
    make_execution: MakeExecution,
    make_receipt: MakeReceipt,
) -> None:
    other = make_automation("Other")
    make_execution(automation=other)
    make_receipt(automation=other)
    count(other, Outcome.EXECUTED, 5)

    shown = text_of(visitor, automation)

    assert rows_of(shown) == []
    assert sum_of(shown)[0] == ("0", "received")
    assert "No request in the last 7 days" in shown


def test_pages_go_on_from_the_last_line(
    visitor: Client,
    automation: Automation,
    make_execution: MakeExecution,
    make_receipt: MakeReceipt,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requests, "PAGE_SIZE", 3)
    made = [str(one.pk) for one in (make_receipt(), make_execution(), make_receipt(), make_receipt(), make_execution())]

    first = text_of(visitor, automation)
    found = re.search(r'href="(\?before=[0-9a-f-]+)" rel="next"', first)
    assert found is not None
    second = text_of(visitor, automation, found[1])

    assert rows_of(first) + rows_of(second) == made[::-1]
    assert 'rel="next"' not in second
    assert "data-live-pause" not in second


@pytest.mark.parametrize("query", ["?period=year", "?outcome=lost", "?period=%00&outcome=%00", "?before=nonsense"])
def test_what_is_not_understood_is_told_and_filters_nothing(
    visitor: Client, automation: Automation, make_execution: MakeExecution, query: str
) -> None:
    make_execution()

    shown = text_of(visitor, automation, query)

    assert len(rows_of(shown)) == 1
    assert ("must be one of the choices" in shown) is ("before" not in query)


def test_delta_is_empty_until_something_happens(
    visitor: Client, automation: Automation, make_execution: MakeExecution, make_receipt: MakeReceipt
) -> None:
    execution, receipt = make_execution(), make_receipt()
    count(automation, Outcome.EXECUTED, 1)
    rows = f"balance:1,{execution.pk}:{execution.rev},{receipt.pk}:0"
    assert visitor.get(url_of(automation, f"delta/?rows={rows}")).status_code == 204

    Execution.objects.filter(pk=execution.pk).update(status=Status.SUCCESS, rev=execution.rev + 1)
    answer = visitor.get(url_of(automation, f"delta/?rows={rows}")).content.decode()
    assert f'hx-target="#request-{execution.pk}"' in answer
    assert "new request" not in answer

    make_receipt(Outcome.DUPLICATE)
    count(automation, Outcome.DUPLICATE, 1)
    answer = visitor.get(url_of(automation, f"delta/?rows={rows}")).content.decode()
    assert "1 new request<" in answer
    assert sum_of(answer)[0] == ("2", "received")

    filtered = visitor.get(url_of(automation, f"delta/?outcome=refused&rows=balance:2,{receipt.pk}:0"))
    assert filtered.status_code == 204


def test_sum_follows_what_is_counted_and_not_written(visitor: Client, automation: Automation) -> None:
    count(automation, Outcome.REFUSED, 500)

    answer = visitor.get(url_of(automation, "delta/?rows=balance:499")).content.decode()

    assert sum_of(answer)[0] == ("500", "received")
    assert "new request" not in answer


def test_delta_counts_no_further_than_99(
    visitor: Client, automation: Automation, make_receipt: MakeReceipt, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(delta.NEW_LIMIT):
        make_receipt()

    assert "99+ new requests" in visitor.get(url_of(automation, "delta/")).content.decode()


def test_builder_and_log_lead_to_the_requests(
    visitor: Client, automation: Automation, make_execution: MakeExecution
) -> None:
    make_execution()
    project = f"/projects/{automation.project_id}"
    pages = (
        f"{project}/automations/{automation.pk}/",
        f"{project}/automations/{automation.pk}/trigger/",
        f"{project}/executions/?automation={automation.pk}",
    )

    for page in pages:
        assert f'href="{url_of(automation)}"' in visitor.get(page).content.decode(), page

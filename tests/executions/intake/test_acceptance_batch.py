"""What one transaction accepts: what joins it, what its organization allows, and what becomes of a lost answer."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from automations.models import Automation
from executions.intake import acceptance, lost_answer
from executions.intake.live_trigger import new_execution
from executions.models import Execution, Receipt, ReceiptDay
from executions.store.rows import DeliveryId
from projects.ids import id_at
from projects.models import Organization, UsageMonth
from tests.support.cut import cut_at_commit, end_connections
from tests.support.door import live_at, live_trigger, send, url_of

RUNNING = 120


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connection to lose")
def test_what_was_committed_is_accepted_once_when_the_answer_is_lost(automation: Automation) -> None:
    live = live_at(automation)
    new = new_execution(live, {"body": {}})
    with cut_at_commit() as way:
        answers = acceptance.write([new])

    assert way.is_cut
    assert answers == [new.id]
    assert Execution.objects.count() == 1
    assert UsageMonth.objects.get().reserved == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connection to lose")
def test_what_the_second_try_committed_is_accepted_when_its_answer_is_lost(automation: Automation) -> None:
    live = live_at(automation)
    new = new_execution(live, {"body": {}})
    with cut_at_commit() as way:
        connection.ensure_connection()
        with socket.socket(fileno=os.dup(connection.connection.fileno())) as dying:
            dying.shutdown(socket.SHUT_RDWR)  # so that the first try stores nothing
        answers = acceptance.write([new])

    assert way.is_cut
    assert answers == [new.id]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connection to lose")
def test_a_sender_is_told_when_nobody_knows_whether_its_request_is_stored(
    automation: Automation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_answer, "LONGEST_DOUBT_S", 0.0)
    live_at(automation)
    end_connections()
    with cut_at_commit(behind=b"INSERT INTO executions_execution", for_good=True) as way:
        answer = send(url_of(automation), b"{}")

    assert way.is_cut
    assert (answer.status, answer.code) == (504, "in_doubt")
    assert answer.headers["retry-after"]
    assert "Nothing was stored" not in answer.body.decode()
    assert str(Execution.objects.get().pk) == answer.json["execution_id"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connection to lose")
def test_a_request_is_accepted_when_the_connection_died_before_it(automation: Automation) -> None:
    assert automation.trigger
    uid = automation.trigger.uid
    live_trigger(uid)  # so that there is a connection to lose
    end_connections()
    live = live_trigger(uid)
    new = new_execution(live, {"body": {}})
    end_connections()

    assert acceptance.write([new]) == [new.id]
    assert Execution.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_what_arrives_before_a_transaction_has_begun_is_accepted_by_it(automation: Automation) -> None:
    live = live_at(automation)
    first, later = new_execution(live, {"body": 1}), new_execution(live, {"body": 2})

    assert acceptance.write([first], lambda: [later]) == [first.id, later.id]
    assert set(Execution.objects.values_list("id", flat=True)) == {first.id, later.id}
    assert UsageMonth.objects.get().reserved == 2


@pytest.mark.django_db(transaction=True)
def test_a_machine_whose_clock_is_ahead_accepts_what_starts_at_once(automation: Automation) -> None:
    live = live_at(automation)
    ahead = id_at(timezone.now() + timedelta(seconds=30))

    acceptance.write([replace(new_execution(live, {"body": {}}), id=ahead)])

    assert Execution.objects.get(pk=ahead).run_at <= timezone.now()


@pytest.mark.django_db(transaction=True)
def test_no_execution_gets_more_time_than_its_organization_allows_now(automation: Automation) -> None:
    live = live_at(automation)
    Organization.objects.update(time_limit_s=20)  # after the trigger was looked up

    acceptance.write([new_execution(live, {"body": {}})])

    assert Execution.objects.get().time_limit_s == 20


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connection to lose")
def test_a_duplicate_is_counted_once_when_the_answer_is_lost(automation: Automation) -> None:
    live = live_at(automation)
    delivery = DeliveryId(key="webhook-id:1", fingerprint="same", must_match=False)
    acceptance.write([new_execution(live, {"body": {}}, delivery)])

    with cut_at_commit() as way:
        [answer] = acceptance.write([new_execution(live, {"body": {}}, delivery)])

    assert way.is_cut
    assert isinstance(answer, acceptance.Duplicate)
    assert Receipt.objects.get().outcome == "duplicate"
    assert dict(ReceiptDay.objects.values_list("outcome", "count")) == {"executed": 1, "duplicate": 1}

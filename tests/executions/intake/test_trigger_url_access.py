"""Who may start what, and what stands in the way: secrets, conditions, limits, a database that is away."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connection

from automations.models import Automation
from executions.intake import look_ups, trigger_url
from executions.intake.fair_threads import Unavailable
from executions.intake.live_trigger import LiveTrigger, read_triggers
from executions.intake.look_ups import LookUps
from executions.intake.message import Message
from executions.models import Execution, Outcome, Receipt
from harness.factory import publish
from harness.processes import until
from tests.support.cut import end_connections
from tests.support.door import send, stored, url_of

pytestmark = pytest.mark.django_db(transaction=True)
PREFIX = "/automations-api/run/"


def test_unknown_replaced_and_deleted_triggers_answer_alike(automation: Automation) -> None:
    replaced = url_of(automation)
    automation.make_trigger("http", "request")
    deleted = url_of(automation)
    send(deleted, b"{}")
    automation.delete()
    paths = [
        replaced, deleted, "/automations-api/run/" + "0" * 32, replaced + "%00", replaced + "\x00", replaced + "\xff",
        replaced + "/", PREFIX + deleted.removeprefix(PREFIX).upper(), PREFIX + "/" + deleted[-32:],
        deleted + ";x=1", PREFIX,
    ]  # fmt: skip

    answers = [send(path, b"not even JSON") for path in paths]

    bodies = [{**answer.json["error"], "request_id": ""} for answer in answers]
    assert {answer.status for answer in answers} == {404}
    assert all(body == bodies[0] for body in bodies)
    assert not Execution.objects.exists()


def test_inactive_automation_says_so_before_the_body_is_read(automation: Automation) -> None:
    send(url_of(automation), b"{}")
    automation.deactivate()

    reply = send(url_of(automation), b"not JSON")

    assert (reply.status, reply.code) == (409, "not_activated")
    assert "not active" in reply.json["result"]
    assert Execution.objects.count() == 1


def test_secret_opens_the_door_as_header_or_query_and_is_never_kept(
    make_automation: Callable[..., Automation],
) -> None:
    automation = make_automation()
    secret = automation.rotate_secret()

    replies = [
        send(url_of(automation), b"{}", HTTP_AH_HTTP_KEY=secret),
        send(f"{url_of(automation)}?ah-http-key={secret}&a=1", b"{}"),
    ]

    assert [stored(reply)["query"] for reply in replies] == [{}, {"a": "1"}]
    assert all(secret not in json.dumps(stored(reply)) for reply in replies)


def test_wrong_and_missing_secret_are_refused(make_automation: Callable[..., Automation]) -> None:
    automation = make_automation()
    old = automation.rotate_secret()
    send(url_of(automation), b"{}", HTTP_AH_HTTP_KEY=old)
    automation.rotate_secret()

    replies = [
        send(url_of(automation), b"{}", HTTP_AH_HTTP_KEY=old),
        send(url_of(automation), b"{}", HTTP_AH_HTTP_KEY="é"),
        send(url_of(automation), b"{}"),
    ]

    assert [(reply.status, reply.code) for reply in replies] == [
        (401, "secret_invalid"), (401, "secret_invalid"), (401, "secret_missing"),
    ]  # fmt: skip
    assert Execution.objects.count() == 1


def test_conditions_not_met_leave_a_receipt_and_no_execution(automation: Automation) -> None:
    publish(automation, conditions={"all": [{"path": "trigger.body.type", "op": "equals", "value": "order"}]})

    reply = send(url_of(automation), b'{"type": "other"}')

    assert (reply.status, reply.json["result"]) == (200, "conditions not met")
    assert Receipt.objects.get().outcome == Outcome.CONDITIONS_NOT_MET
    assert not Execution.objects.exists()
    assert send(url_of(automation), b'{"type": "order"}').status == 202


def test_request_over_the_hard_limit_is_refused_with_a_receipt(automation: Automation) -> None:
    organization = automation.organization
    organization.hard_limit = 1
    organization.save()

    replies = [send(url_of(automation), b"{}") for _ in range(2)]

    assert [reply.status for reply in replies] == [202, 429]
    assert replies[1].code == "hard_limit"
    assert Receipt.objects.get(outcome=Outcome.REFUSED).code == "hard_limit"
    assert Execution.objects.count() == 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no server that could be away")
def test_database_away_answers_503(automation: Automation) -> None:
    settings = connection.settings_dict
    port = settings["PORT"]
    assert send(PREFIX + "1" * 32, b"{}").status == 404
    end_connections()
    settings["PORT"] = 1
    try:
        reply = send(PREFIX + "2" * 32, b"{}")
    finally:
        connection.close()
        settings["PORT"] = port

    assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "unavailable", "5")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no server that counts its connections")
def test_strangers_do_not_cost_a_connection_each() -> None:
    def ask(number: int) -> int:
        together.wait()
        return send(PREFIX + f"{number:032x}", b"{}").status

    def connections() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            return int(cursor.fetchone()[0])

    before, together = connections(), threading.Barrier(20)
    with ThreadPoolExecutor(20) as strangers:
        answers = list(strangers.map(ask, range(20)))
        more = connections() - before

    assert answers == [404] * 20
    assert more <= 5  # of the threads for look-ups, and of others of this process that open one meanwhile


# --- look-ups


def test_an_unknown_address_is_not_looked_up_again_at_once_and_a_new_trigger_works_at_once(
    make_automation: Callable[..., Automation], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = LookUps()
    monkeypatch.setattr(trigger_url, "look_ups", lambda: kept)
    monkeypatch.setattr(look_ups, "UNKNOWN_S", 3600.0)
    unknown = [PREFIX + f"{number:032x}" for number in range(3, 6)]
    assert {send(path).status for path in unknown} == {404}
    with looked_up() as uids:
        assert {send(path).status for _ in range(20) for path in unknown} == {404}
    assert uids == []

    automation = make_automation()
    automation.remove_secret()

    assert send(url_of(automation), b"{}").status == 202


def test_an_unknown_address_is_looked_up_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = LookUps()
    monkeypatch.setattr(trigger_url, "look_ups", lambda: kept)
    monkeypatch.setattr(look_ups, "UNKNOWN_S", 0.0)
    unknown = PREFIX + f"{7:032x}"
    with looked_up() as uids:
        assert [send(unknown).status for _ in range(3)] == [404] * 3
    assert PREFIX + uids[-1] == unknown
    assert len(uids) == 3


def test_the_triggers_used_last_are_kept_and_no_more(
    make_automation: Callable[..., Automation], monkeypatch: pytest.MonkeyPatch
) -> None:
    automations = [make_automation(f"No. {number}") for number in range(3)]
    for automation in automations:
        automation.remove_secret()
    first, second, third = (url_of(automation) for automation in automations)
    kept = LookUps()
    monkeypatch.setattr(trigger_url, "look_ups", lambda: kept)
    monkeypatch.setattr(look_ups, "KNOWN", 2)

    with looked_up() as uids:
        for path in (first, second, first, third, first, second):
            assert send(path, b"{}").status == 202

    assert [PREFIX + uid for uid in uids] == [first, second, third, second]


def test_a_client_with_too_many_look_ups_in_line_is_refused_and_another_is_not(
    automation: Automation, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = LookUps()
    monkeypatch.setattr(trigger_url, "look_ups", lambda: kept)
    go_on = threading.Event()
    looks: list[str] = []

    def slow(uids: set[str]) -> dict[str, LiveTrigger | Unavailable]:
        looks.extend(uids)
        go_on.wait(20)
        return read_triggers(uids)

    monkeypatch.setattr(look_ups, "read_triggers", slow)
    monkeypatch.setattr(kept._threads, "line", 10)
    with ThreadPoolExecutor(30) as strangers:
        begun = []
        for number in range(2):  # one for each thread: together they could share one
            begun.append(strangers.submit(send, PREFIX + f"{number:032x}"))
            until(lambda number=number: len(looks) == number + 1)  # type: ignore[misc]
        flood = [strangers.submit(send, PREFIX + f"{number:032x}") for number in range(2, 20)]
        until(lambda: sum(answer.done() for answer in flood) == 8)
        other = strangers.submit(send, url_of(automation), b"{}", REMOTE_ADDR="192.0.2.1")
        go_on.set()
        answers = [answer.result() for answer in (*begun, *flood)]

    assert other.result().status == 202
    assert sorted(answer.status for answer in answers) == [404] * 12 + [503] * 8
    assert {answer.code for answer in answers if answer.status == 503} == {"too_many_look_ups"}


def test_refused_requests_are_forgotten(automation: Automation) -> None:
    for _ in range(20):
        send(PREFIX + "f" * 32, b"x" * 1000)
        send(url_of(automation), b"not JSON")

    gc.collect()

    assert sum(isinstance(thing, Message) for thing in gc.get_objects()) < 5


@contextmanager
def looked_up() -> Iterator[list[str]]:
    """Yield the triggers that are read from the database meanwhile."""
    seen: list[str] = []

    def read(uids: set[str]) -> dict[str, LiveTrigger | Unavailable]:
        seen.extend(uids)
        return read_triggers(uids)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(look_ups, "read_triggers", read)
        yield seen

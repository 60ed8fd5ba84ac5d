from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from automations.models import Automation
from executions.models import Execution, Outcome, Receipt, StepRun
from tests.support.cut import end_connections
from tests.support.door import JSON, Reply, send, url_of
from tests.support.processes import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

FORM = "application/x-www-form-urlencoded"
PREFIX = "/automations-api/run/"
MB = 1024 * 1024
DOCS = ROOT / "docs" / "trigger-urls.md"


@pytest.fixture
def automation(make_automation: Callable[..., Automation]) -> Automation:
    return without_secret(make_automation())


def without_secret(automation: Automation) -> Automation:
    automation.remove_secret()
    return automation


def configure(automation: Automation, **config: Any) -> None:
    definition = automation.definition
    definition.trigger.config = config
    automation.save_draft(definition, rev=automation.draft_rev)
    automation.activate(None)


def stored(reply: Reply) -> Any:
    """Return the trigger's output of the execution that a request started."""
    assert reply.status == 202, reply.body
    run = StepRun.objects.get(execution_id=reply.json["execution_id"], key=StepRun.TRIGGER)
    return run.shown_value("input")


# --- what is accepted


def test_request_is_stored_before_the_answer(automation: Automation) -> None:
    reply = send(url_of(automation), b'{"a": 1}')

    execution = Execution.objects.get()
    assert reply.status == 202
    assert reply.json["execution_id"] == str(execution.pk)
    assert reply.json["status"] == "pending"
    assert reply.json["status_url"].endswith(f"/v1/projects/{automation.project_id}/executions/{execution.pk}")
    assert reply.headers["location"] == reply.json["status_url"]


READ = {
    "J8 integer of 30 digits": (b'{"a": 123456789012345678901234567890}', JSON, {"a": 123456789012345678901234567890}),
    "J17 duplicate keys: the last wins": (b'{"a": 1, "a": 2}', JSON, {"a": 2}),
    "J18 scalar": (b"5", JSON, 5),
    "J18 null": (b"null", JSON, None),
    "J18 list": (b"[1, null]", JSON, [1, None]),
    "J19 prototype": (b'{"__proto__": {"x": 1}}', JSON, {"__proto__": {"x": 1}}),
    "J20 SQL": (b'{"a__b__regex": "\'; DROP TABLE x"}', JSON, {"a__b__regex": "'; DROP TABLE x"}),
    "J21 markup": (b'{"a": "<script>{{7*7}}{% debug %}"}', JSON, {"a": "<script>{{7*7}}{% debug %}"}),
    "J22 odd Unicode": ('{"a": "\u202e\u200b👩\u200d👩"}'.encode(), JSON, {"a": "\u202e\u200b👩\u200d👩"}),
    "J24 JSON as text/plain stays text": (b'{"a": 1}', "text/plain", '{"a": 1}'),
    "J28 imitated upload": (
        b'{"files": {"x": {"filepath": "/etc/passwd"}}}', JSON, {"files": {"x": {"filepath": "/etc/passwd"}}},
    ),
    "escaped backslash before u0000": (b'{"a": "\\\\u0000"}', JSON, {"a": "\\u0000"}),
    "nested 64 deep": (b"[" * 64 + b"]" * 64, JSON, json.loads("[" * 64 + "]" * 64)),
    "vendor type": (b'{"a": 1}', "application/vnd.github+json; charset=utf-8", {"a": 1}),
    "form": (b"a=1&b=x+y%C3%A9&a=2&c=", FORM, {"a": ["1", "2"], "b": "x yé", "c": ""}),
    "form of 1,000 fields": (b"&".join(b"a=1" for _ in range(1000)), FORM, {"a": ["1"] * 1000}),
    "text": ("Grüße".encode(), "text/plain; charset=UTF-8", "Grüße"),
    "nothing": (b"", None, None),
}  # fmt: skip


@pytest.mark.parametrize(("body", "content_type", "value"), READ.values(), ids=READ)
def test_body_is_read_by_its_declared_type(
    automation: Automation, body: bytes, content_type: str | None, value: Any
) -> None:
    reply = send(url_of(automation), body, content_type)

    assert stored(reply)["body"] == value


def test_large_text_is_stored_whole(automation: Automation) -> None:
    text = "x" * MB

    reply = send(url_of(automation), json.dumps({"text": text}).encode())

    execution = Execution.objects.get(pk=reply.json["execution_id"])
    run = StepRun.objects.get(execution_id=execution.pk, key=StepRun.TRIGGER)
    assert reply.status == 202
    assert json.loads(run.shown("input") or "")["body"] == {"text": text}


def test_get_has_a_query_and_no_body(automation: Automation) -> None:
    reply = send(url_of(automation) + "?tag=a&tag=b&x%C3%A9=1&a[]=2", b"ignored", method="GET")

    payload = stored(reply)
    assert payload["method"] == "GET"
    assert payload["body"] is None
    assert payload["query"] == {"tag": ["a", "b"], "xé": "1", "a[]": "2"}


def test_only_chosen_and_standard_headers_are_kept(automation: Automation) -> None:
    configure(automation, headers=["X-Shop", "Authorization", "ah-http-key", "Cookie", "X-Absent"])

    reply = send(
        url_of(automation), b"{}", HTTP_X_SHOP="7", HTTP_X_OTHER="8", HTTP_AUTHORIZATION="Bearer t", HTTP_COOKIE="c",
        HTTP_AH_HTTP_KEY="k", HTTP_USER_AGENT="curl/8", HTTP_X_GITHUB_EVENT="push", HTTP_X_FORWARDED_FOR="1.2.3.4",
    )  # fmt: skip

    assert stored(reply)["headers"] == {
        "content-type": JSON, "user-agent": "curl/8", "x-github-event": "push", "x-shop": "7",
    }  # fmt: skip


# --- what is refused

REFUSED: dict[str, tuple[bytes, str | None, int, str]] = {
    "J1 empty": (b"", JSON, 400, "invalid_json"),
    "J2 cut off": (b'{"a":1', JSON, 400, "invalid_json"),
    "J3 trailing comma": (b"[1,]", JSON, 400, "invalid_json"),
    "J3 comment": (b"{} // x", JSON, 400, "invalid_json"),
    "J3 single quotes": (b"{'a': 1}", JSON, 400, "invalid_json"),
    "J4 two documents": (b"{}{}", JSON, 400, "invalid_json"),
    "J5 NaN": (b"[NaN]", JSON, 400, "invalid_json"),
    "J5 NaN beside a long integer": (b"[NaN, 12345678901234567890]", JSON, 400, "invalid_json"),
    "J5 -Infinity": (b"[-Infinity]", JSON, 400, "invalid_json"),
    "J6 1e400": (b"[1e400]", JSON, 400, "number_out_of_range"),
    "J7 integer of 5,000 digits": (b"1" * 5000, JSON, 400, "number_out_of_range"),
    "J9 NUL in a value": (b'{"a": ["\\u0000"]}', JSON, 400, "nul_character"),
    "J10 NUL in a key": (b'{"\\u0000": 1}', JSON, 400, "nul_character"),
    "J11 half a character": (b'"\\ud800"', JSON, 400, "invalid_unicode"),
    "J11 half a character beside a long integer": (b'["\\ud800", 12345678901234567890]', JSON, 400, "invalid_unicode"),
    "J12 raw NUL": (b'"\x00"', JSON, 400, "invalid_json"),
    "J13 not UTF-8": (b'"\xff"', JSON, 400, "invalid_encoding"),
    "J14 byte order mark": (b"\xef\xbb\xbf{}", JSON, 400, "invalid_encoding"),
    "J14 UTF-16": ("{}".encode("utf-16"), JSON, 400, "invalid_encoding"),
    "J15 65 deep": (b"[" * 65 + b"]" * 65, JSON, 400, "too_deep"),
    "J15 65 deep in keys": (b'{"a":' * 65 + b"1" + b"}" * 65, JSON, 400, "too_deep"),
    "J15 5,000 deep": (b"[" * 5000 + b"]" * 5000, JSON, 400, "too_deep"),
    "J15 100,000 deep": (b"[" * 100_000, JSON, 400, "too_deep"),
    "J16 too many keys": (json.dumps({str(n): n for n in range(10_001)}).encode(), JSON, 400, "too_many_keys"),
    "J24 no type": (b"{}", None, 415, "unsupported_media_type"),
    "J25 charset": (b"{}", "application/json; charset=latin-1", 415, "unsupported_charset"),
    "J26 1,001 fields": (b"&".join(b"a=1" for _ in range(1001)), FORM, 400, "too_many_fields"),
    "J27 multipart without boundary": (b"x", "multipart/form-data", 415, "unsupported_media_type"),
    "J29 file": (b"--b", "multipart/form-data; boundary=b", 415, "unsupported_media_type"),
    "J30 XML": (b"<!DOCTYPE x>", "application/xml", 415, "unsupported_media_type"),
    "J30 XML as text": (b"<!DOCTYPE x>", "text/xml", 415, "unsupported_media_type"),
    "J31 protobuf": (b"\x08\x01", "application/x-protobuf", 415, "unsupported_media_type"),
    "form that is not UTF-8": (b"a=%ff", FORM, 400, "invalid_encoding"),
    "form with NUL": (b"a=%00", FORM, 400, "nul_character"),
    "text with NUL": (b"a\x00", "text/plain", 400, "nul_character"),
}


@pytest.mark.parametrize(("body", "content_type", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_body_is_refused_by_name(
    automation: Automation, body: bytes, content_type: str | None, status: int, code: str
) -> None:
    reply = send(url_of(automation), body, content_type)

    assert (reply.status, reply.code) == (status, code)
    assert set(reply.json["error"]) == {"code", "message", "request_id"}
    assert reply.json["error"]["request_id"] == reply.headers["x-request-id"]
    assert not Execution.objects.exists()


HEADS: dict[str, tuple[dict[str, Any], int, str]] = {
    "W1 chunked": ({"HTTP_TRANSFER_ENCODING": "chunked"}, 411, "length_required"),
    "W4 length is no number": ({"CONTENT_LENGTH": "abc"}, 400, "invalid_length"),
    "W4 length is negative": ({"CONTENT_LENGTH": "-1"}, 400, "invalid_length"),
    "W5 body shorter than stated": ({"CONTENT_LENGTH": "50"}, 400, "incomplete_body"),
    "W7 one byte over the cap": ({"CONTENT_LENGTH": str(3 * MB + 1)}, 413, "body_too_large"),
    "W8 100 MB": ({"CONTENT_LENGTH": str(100 * MB)}, 413, "body_too_large"),
    "W9 header of 20 kB": ({"HTTP_X_A": "a" * 20_000}, 431, "headers_too_large"),
    "W13 BREW": ({"REQUEST_METHOD": "BREW"}, 405, "method_not_allowed"),
    "W13 TRACE": ({"REQUEST_METHOD": "TRACE"}, 405, "method_not_allowed"),
    "W15 OPTIONS": ({"REQUEST_METHOD": "OPTIONS"}, 405, "method_not_allowed"),
    "W16 no Host": ({"HTTP_HOST": ""}, 400, "invalid_host"),
    "W16 unknown Host": ({"HTTP_HOST": "evil.example"}, 400, "invalid_host"),
    "W16 two Hosts": ({"HTTP_HOST": "127.0.0.1,evil.example"}, 400, "invalid_host"),
    "W19 gzip": ({"HTTP_CONTENT_ENCODING": "gzip"}, 415, "unsupported_content_encoding"),
    "W24 5,000 query fields": ({"QUERY_STRING": "a=1&" * 5000}, 400, "too_many_fields"),
    "query that is not UTF-8": ({"QUERY_STRING": "a=%ff"}, 400, "invalid_encoding"),
    "query with NUL": ({"QUERY_STRING": "a=%00"}, 400, "nul_character"),
}


@pytest.mark.parametrize(("environ", "status", "code"), HEADS.values(), ids=HEADS)
def test_head_is_refused_by_name(automation: Automation, environ: dict[str, Any], status: int, code: str) -> None:
    reply = send(url_of(automation), b"{}", **environ)

    assert (reply.status, reply.code) == (status, code)
    assert reply.headers.get("allow", "GET, POST") == "GET, POST"
    assert (status == 405) == ("allow" in reply.headers)
    assert not Execution.objects.exists()


def test_body_too_large_is_refused_without_reading_it(automation: Automation) -> None:
    unread = io.BytesIO(b"x" * (3 * MB + 1))

    environ: dict[str, Any] = {"CONTENT_LENGTH": str(3 * MB + 1), "wsgi.input": unread}
    reply = send(url_of(automation), **environ)

    assert reply.status == 413
    assert unread.tell() == 0


def test_head_is_refused_without_a_body(automation: Automation) -> None:
    reply = send(url_of(automation), method="HEAD")

    assert (reply.status, reply.body) == (405, b"")
    assert not Execution.objects.exists()


def test_get_is_refused_when_the_trigger_takes_only_post(automation: Automation) -> None:
    configure(automation, methods=["POST"])

    reply = send(url_of(automation), method="GET")

    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert not Execution.objects.exists()


def test_nul_is_refused_with_its_path(automation: Automation) -> None:
    reply = send(url_of(automation), b'{"a": [1, {"b": "x\\u0000"}]}')

    assert "body.a[1].b" in reply.json["error"]["message"]


# --- who may start what


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
    assert "not activated" in reply.json["result"]
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
    definition = automation.definition.model_dump(mode="json")
    definition["trigger"]["conditions"] = {"all": [{"path": "trigger.body.type", "op": "equals", "value": "order"}]}
    automation.save_draft(type(automation.definition).model_validate(definition), rev=automation.draft_rev)
    automation.activate(None)

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
    path = PREFIX + "1" * 32
    assert send(path, b"{}").status == 404
    end_connections()
    settings["PORT"] = 1
    try:
        reply = send(path, b"{}")
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
    assert more <= 2


# --- the documentation


def test_every_code_is_documented() -> None:
    text = DOCS.read_text()
    codes = {row[3] for row in REFUSED.values()} | {row[2] for row in HEADS.values()}
    codes |= {"not_found", "not_activated", "secret_invalid", "secret_missing", "hard_limit", "unavailable"}
    codes |= {"no_reply", "reply_timeout", "internal_error", "invalid_idempotency_key", "idempotency_key_reused"}

    assert [code for code in sorted(codes) if f"`{code}`" not in text] == []

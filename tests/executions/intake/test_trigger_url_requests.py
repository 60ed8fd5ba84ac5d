"""A request at a trigger URL is read by its declared type, and stored before its answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from automations.models import Automation
from executions.models import Execution, StepRun
from harness.factory import publish
from tests.support.door import FORM, JSON, MB, send, stored, url_of

pytestmark = pytest.mark.django_db(transaction=True)


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
    publish(automation, config={"headers": ["X-Shop", "Authorization", "ah-http-key", "Cookie", "X-Absent"]})

    reply = send(
        url_of(automation), b"{}", HTTP_X_SHOP="7", HTTP_X_OTHER="8", HTTP_AUTHORIZATION="Bearer t", HTTP_COOKIE="c",
        HTTP_AH_HTTP_KEY="k", HTTP_USER_AGENT="curl/8", HTTP_X_GITHUB_EVENT="push", HTTP_X_FORWARDED_FOR="1.2.3.4",
    )  # fmt: skip

    assert stored(reply)["headers"] == {
        "content-type": JSON, "user-agent": "curl/8", "x-github-event": "push", "x-shop": "7",
    }  # fmt: skip


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL wakes the engines within the transaction")
def test_a_doorbell_that_does_not_ring_leaves_an_accepted_request_accepted(
    automation: Automation, settings: Settings, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    (tmp_path / "doorbells").write_text("in the way of the folder")

    replies = [send(url_of(automation), b"{}") for _ in range(3)]

    assert [reply.status for reply in replies] == [202] * 3
    assert Execution.objects.count() == 3

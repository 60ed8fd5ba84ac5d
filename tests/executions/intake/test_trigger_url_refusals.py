"""What a trigger URL refuses because of the request's form, each under its documented code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from automations.models import Automation
from executions.models import Execution
from harness.factory import publish
from harness.processes import ROOT
from tests.support.door import FORM, JSON, MB, send, url_of

pytestmark = pytest.mark.django_db(transaction=True)
DOCS = ROOT / "docs" / "trigger-urls.md"
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
    "W2 compressed chunks": ({"HTTP_TRANSFER_ENCODING": "gzip, chunked"}, 415, "unsupported_content_encoding"),
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


async def unread() -> dict[str, Any]:
    raise AssertionError("the body was read")


def test_body_too_large_is_refused_without_reading_it(automation: Automation) -> None:
    reply = send(url_of(automation), receive=unread, CONTENT_LENGTH=str(3 * MB + 1))

    assert (reply.status, reply.code) == (413, "body_too_large")


@pytest.mark.parametrize("size", [3 * MB + 1, 10 * MB])
def test_a_chunked_body_is_refused_when_it_grows_too_large(automation: Automation, size: int) -> None:
    reply = send(url_of(automation), b"x" * size, HTTP_TRANSFER_ENCODING="chunked")

    assert (reply.status, reply.code) == (413, "body_too_large")
    assert not Execution.objects.exists()


def test_head_is_refused_without_a_body(automation: Automation) -> None:
    reply = send(url_of(automation), method="HEAD")

    assert (reply.status, reply.body) == (405, b"")
    assert not Execution.objects.exists()


def test_get_is_refused_when_the_trigger_takes_only_post(automation: Automation) -> None:
    publish(automation, config={"methods": ["POST"]})

    reply = send(url_of(automation), method="GET")

    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert not Execution.objects.exists()


def test_nul_is_refused_with_its_path(automation: Automation) -> None:
    reply = send(url_of(automation), b'{"a": [1, {"b": "x\\u0000"}]}')

    assert "body.a[1].b" in reply.json["error"]["message"]


def test_every_code_is_documented() -> None:
    text = DOCS.read_text()
    codes = {row[3] for row in REFUSED.values()} | {row[2] for row in HEADS.values()}
    codes |= {"not_found", "not_activated", "secret_invalid", "secret_missing", "hard_limit", "unavailable"}
    codes |= {"no_reply", "reply_timeout", "internal_error", "invalid_idempotency_key", "idempotency_key_reused"}
    codes |= {"too_many_bodies", "too_many_callers", "too_many_look_ups", "server_full"}
    codes |= {"server_stopping", "reply_interrupted", "body_too_slow"}

    assert [code for code in sorted(codes) if f"`{code}`" not in text] == []

"""Every action by its real run, against a real server on loopback, and the input that each refuses."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from connectors.registry import CONNECTORS, find_action
from connectors.sdk.call import JSON, EndExecution, Pause, StepError
from connectors.sdk.check import check_input
from tests.support.acting import Answer, Outbox, Remote, run_action


def answer_with(**options: Any) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(**options)

    return answer


def call_http(answer: Answer, **given: Any) -> tuple[Any, Remote]:
    async def scenario() -> tuple[JSON, Remote]:
        async with Remote(answer) as remote:
            return await run_action("http", "request", {"url": remote.url, **given}), remote

    return asyncio.run(scenario())


def act(connector: str, action: str, given: dict[str, Any], **more: Any) -> Any:
    return asyncio.run(run_action(connector, action, given, **more))


@pytest.mark.parametrize(
    ("body_type", "body", "sent", "content_type"),
    [
        ("none", "x", b"", None), ("json", {"a": [1]}, b'{"a":[1]}', "application/json"),
        ("form", {"a": "1 2", "b": 3}, b"a=1+2&b=3", "application/x-www-form-urlencoded"),
        ("form", "a=1\nb = 2", b"a=1&b=2", "application/x-www-form-urlencoded"),
        ("text", "é", "é".encode(), "text/plain; charset=utf-8"), ("text", 5, b"5", "text/plain; charset=utf-8"),
    ],
)  # fmt: skip
def test_request_sends_what_was_asked(body_type: str, body: Any, sent: bytes, content_type: str | None) -> None:
    output, remote = call_http(
        answer_with(text='{"ok": true}', content_type="application/json"), method="POST", body_type=body_type,
            body=body,
        headers=[{"name": "X-A", "value": 1}], query={"q": "a b"},
    )  # fmt: skip

    request, content = remote.asked[0]
    assert (content, request.headers["X-A"], request.query["q"]) == (sent, "1", "a b")
    assert content_type is None or request.headers["Content-Type"] == content_type
    assert (request.headers["User-Agent"], request.headers["Idempotency-Key"]) == ("AgentOS", "e-1-call-0")
    assert (output["status"], output["body"]) == (200, {"ok": True})


def test_builders_own_headers_stand_above_ours() -> None:
    headers = [{"name": "idempotency-key", "value": "mine"}, {"name": "Content-Type", "value": "a/b"}]

    _, remote = call_http(answer_with(), method="POST", body_type="json", body=1, headers=headers)

    sent = remote.asked[0][0].headers
    assert (sent.getall("Idempotency-Key"), sent.getall("Content-Type")) == (["mine"], ["a/b"])


def test_get_carries_no_idempotency_key() -> None:
    _, remote = call_http(answer_with())

    assert "Idempotency-Key" not in remote.asked[0][0].headers


@pytest.mark.parametrize(
    ("body", "content_type", "kept"),
    [
        (b"", "text/plain", None), (b'{"a": 1}', "application/problem+json", {"a": 1}),
        (b"<p>", "application/json", "<p>"),
        (b"NaN", "application/json", "NaN"), (b'"a\\u0000b"', "application/json", "a\ufffdb"),
        (b'"\\ud800"', "application/json", '"\\ud800"'), (b"[" * 5000, "application/json", "[" * 5000),
        ("é".encode("latin-1"), "text/plain; charset=latin-1", "é"),
        (b"\xff", "text/plain; charset=nonsense", "\ufffd"),
        (b"\x89PNG\xff", "image/png", "(5 bytes of image/png, not stored)"), (b"a\0b", "text/plain", "a\ufffdb"),
    ],
)  # fmt: skip
def test_answer_is_kept_in_a_form_that_can_be_stored(body: bytes, content_type: str, kept: JSON) -> None:
    output, _ = call_http(answer_with(body=body, headers={"Content-Type": content_type}))

    assert output["body"] == kept
    json.dumps(output, ensure_ascii=False, allow_nan=False).encode()


def test_secrets_of_an_answer_are_not_kept() -> None:
    output, _ = call_http(answer_with(headers={"Set-Cookie": "a=1", "Authorization": "x", "X-B": "2"}))

    assert {"set-cookie", "authorization"}.isdisjoint(output["headers"])
    assert output["headers"]["x-b"] == "2"


@pytest.mark.parametrize(
    ("status", "retryable", "external"),
    [
        (400, False, False),
        (404, False, False),
        (408, True, False),
        (429, True, True),
        (500, True, True),
        (503, True, True),
    ],
)
def test_error_status_fails_the_step_when_asked_to(status: int, retryable: bool, external: bool) -> None:
    answer = answer_with(status=status, text="why", headers={"Retry-After": "7"})

    with pytest.raises(StepError) as raised:
        call_http(answer, fail_on_error_status=True)

    error = raised.value
    assert (error.retryable, error.external, error.retry_after_s) == (retryable, external, 7.0)
    assert isinstance(error.output, dict)
    assert (error.output["status"], error.output["body"]) == (status, "why")


def test_error_status_is_an_output_by_default() -> None:
    assert call_http(answer_with(status=500))[0]["status"] == 500


@pytest.mark.parametrize(
    ("connector", "action", "given", "output"),
    [
        ("transform", "fields", {"fields": {"a": 1, "b": [2]}}, {"a": 1, "b": [2]}),
        ("transform", "template", {"template": "Hi"}, {"value": "Hi"}),
        ("transform", "query", {"source": {"a": [{"b": 1}, {"b": 2}]}, "query": "a[?b > `1`].b"}, {"value": [2]}),
        ("transform", "pick", {"source": {"a": {"b": 1}, "c": 2}, "fields": {"x": "a.b"}}, {"x": 1}),
        ("response", "send", {"status": 201, "headers": {"X-A": "1"}, "body": {"a": 1}},
         {"status": 201, "headers": {"X-A": "1"}, "body": {"a": 1}}),
    ],
)  # fmt: skip
def test_action_gives_its_output(connector: str, action: str, given: dict[str, Any], output: JSON) -> None:
    assert act(connector, action, given) == output


@pytest.mark.parametrize("query", ["sum(@)", "length(`5`)", "max_by(@, &x)"])
def test_query_that_fails_on_the_data_is_a_step_error(query: str) -> None:
    with pytest.raises(StepError) as raised:
        act("transform", "query", {"source": {"a": "x"}, "query": query})

    assert raised.value.code == "invalid_query"


def test_condition_ends_the_execution_when_not_met() -> None:
    given = {"conditions": {"all": [{"path": "trigger.body.n", "op": "greater_than", "value": 5}]}}

    assert act("condition", "continue_if", given, scope={"trigger": {"body": {"n": 6}}}) == {"continued": True}
    with pytest.raises(EndExecution, match=r"The condition was not met: .*trigger.body.n"):
        act("condition", "continue_if", given, scope={"trigger": {"body": {"n": 5}}})


def test_wait_pauses_first_and_goes_on_when_resumed() -> None:
    with pytest.raises(Pause) as raised:
        act("wait", "for", {"amount": 2, "unit": "hours"})
    resumed = act("wait", "for", {"amount": 2, "unit": "hours"}, paused_until=datetime(2026, 1, 1, tzinfo=UTC))

    assert timedelta(minutes=119) < raised.value.until - datetime.now(UTC) <= timedelta(hours=2)
    assert resumed["waited_until"].startswith("2026-01-01T00:00:00")


def test_email_goes_out_once_with_the_steps_key() -> None:
    outbox = Outbox()

    output = act("email", "send", {"to": "a@b.co, c@d.co", "cc": ["e@f.co"], "subject": 7, "text": "x"}, mail=outbox)

    message, key = outbox.messages[0]
    assert (message.to, message.cc, message.subject, key) == (["a@b.co", "c@d.co"], ["e@f.co"], "7", "e-1-call-0")
    assert output["recipients"] == 3


HTTP: dict[str, Any] = {"url": "http://example.com/"}
MAIL: dict[str, Any] = {"to": "a@b.co", "subject": "s"}
REFUSED: list[tuple[str, dict[str, Any]]] = [
    *(("http.request", {"url": url}) for url in ("", "example.com", "ftp://a.co", "file:///a", "http://u:p@a.co",
        "http://a:0/")),
    *(("http.request", {**HTTP, "method": method}) for method in ("BREW", "", "get")),
    *(("http.request", {**HTTP, "timeout_s": seconds}) for seconds in (0, -1, 10**9, "abc", "NaN")),
    *(
        ("http.request", {**HTTP, "headers": [{"name": name, "value": value}]})
        for name, value in [("a b", ""), ("a:", ""), ("a\n", ""), ("a", "x\r\ny"), ("a", "\0"), ("a", "€"),
        ("Host", "x"),
                            ("Content-Length", "1"), ("transfer-encoding", "chunked")]
    ),
    ("http.request", {**HTTP, "unknown": 1}), ("http.request", {**HTTP, "body_type": "form", "body": 5}),
    *(("wait.for", {"amount": amount}) for amount in (0, -5, 0.5, "NaN", 1e9, "5 bananas", None, "inf", 2_592_001)),
    ("wait.for", {"amount": 31, "unit": "days"}), ("wait.for", {"amount": 1, "unit": "years"}),
    *(
        ("email.send", {**MAIL, "to": to})
        for to in ["", [], "a@localhost", "a@[127.0.0.1]", ["a@b.c, v@x.com"], "a@b.co\nBcc: x", '"x"<a@b.co>',
                   "a" * 400 + "@b.co", [f"a{n}@b.co" for n in range(51)], "a..b@c.co", ".a@b.co", "é@b.co"]
    ),
    *(("email.send", {**MAIL, "subject": subject}) for subject in ("", "a\nb", "a\r\nBcc: v@x.co")),
    *(("response.send", {"status": status}) for status in (100, 199, 600, "x")),
    *(("response.send", {"headers": {name: "x"}}) for name in ("Set-Cookie", "Connection", "content-security-policy")),
    ("transform.query", {"source": 1, "query": "a" * 2001}), ("transform.query", {"source": 1, "query": "a["}),
    ("transform.query", {"source": 1, "query": "(" * 900 + "a" + ")" * 900}),
    ("condition.continue_if", {"conditions": {"all": [{"path": "x", "op": "resembles"}]}}),
]  # fmt: skip


@pytest.mark.parametrize(("action", "given"), REFUSED)
def test_input_is_refused_at_save_and_at_run(action: str, given: dict[str, Any]) -> None:
    found = find_action(*action.split("."))
    assert found is not None

    assert check_input(found, given)
    with pytest.raises(ValidationError):
        found.input.model_validate(given)


def test_templates_are_checked_as_templates_and_the_rest_by_the_model() -> None:
    found = find_action("http", "request")
    assert found is not None
    headers: JSON = [{"name": "A", "value": "{{ vars.T }}"}, {"name": "b b", "value": "x"}]

    sound = check_input(
        found, {"url": "{{ trigger.body.url }}", "timeout_s": "{{ trigger.body.t }}", "body": "{{ a }}"}
    )
    wrong = check_input(found, {"url": "{{ trigger.body.url", "headers": headers})

    assert sound == []
    assert [problem.loc for problem in wrong] == [("url",), ("headers", 1)]


def test_every_action_and_event_declares_a_form() -> None:
    models = [action.input for connector in CONNECTORS.values() for action in connector.actions]
    models += [event.config for connector in CONNECTORS.values() for event in connector.events]

    for model in models:
        for name, schema in model.model_json_schema()["properties"].items():
            assert {"title", "widget"} <= schema.keys(), (model, name)

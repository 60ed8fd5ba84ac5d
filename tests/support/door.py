"""Requests, handed to the application as the web server would."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from agentos_site.asgi import application
from automations.models import Automation
from executions.intake.live_trigger import LiveTrigger
from executions.intake.look_ups import look_ups
from executions.models import StepRun

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MB = 1024 * 1024
PARTS = {"CONTENT_TYPE": "content-type", "CONTENT_LENGTH": "content-length"}

type Receive = Callable[[], Awaitable[dict[str, Any]]]


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


@cache
def event_loop() -> asyncio.AbstractEventLoop:
    """Return the one event loop of all tests, which turns in a thread of its own as the web server's does."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="event-loop", daemon=True).start()
    return loop


def awaited[Result](coroutine: Coroutine[Any, Any, Result], *, within: float = 60) -> Result:
    """Return the result of a coroutine of the product, run in the event loop."""
    return asyncio.run_coroutine_threadsafe(coroutine, event_loop()).result(within)


def live_at(automation: Automation) -> LiveTrigger:
    """Return what is live at an automation's trigger URL."""
    assert automation.trigger
    return live_trigger(automation.trigger.uid)


def live_trigger(uid: str) -> LiveTrigger:
    live = awaited(look_ups().find(uid, "test", is_fresh=True))
    assert live
    return live


def send(
    path: str,
    body: bytes = b"",
    content_type: str | None = JSON,
    *,
    method: str = "POST",
    receive: Receive | None = None,
    **parts: Any,
) -> Reply:
    """Send a request as the web server would hand it on.

    `parts` names headers as WSGI does (`HTTP_X_KIND`), and may replace the method, the query and the length.
    """
    path, _, query = path.partition("?")
    length = {} if "HTTP_TRANSFER_ENCODING" in parts else {"CONTENT_LENGTH": str(len(body))}
    given: dict[str, Any] = {**length, "HTTP_HOST": "127.0.0.1", **parts}
    if content_type is not None:
        given["CONTENT_TYPE"] = content_type
    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", "8000"),
        "client": (given.pop("REMOTE_ADDR", "127.0.0.1"), "50000"),
        "method": given.pop("REQUEST_METHOD", method),
        "path": unquote_to_bytes(path).decode(errors="replace"),
        "raw_path": path.encode(),
        "query_string": given.pop("QUERY_STRING", query).encode(),
        "headers": [
            (_name(key), value.encode()) for key, value in given.items() if value or key == "HTTP_IDEMPOTENCY_KEY"
        ],
    }
    sent: list[MutableMapping[str, Any]] = []

    async def keep(event: MutableMapping[str, Any]) -> None:
        sent.append(event)

    awaited(application(scope, receive or _receiver(body), keep))
    head = sent[0]
    headers = {name.decode(): value.decode("latin-1") for name, value in head["headers"]}
    return Reply(head["status"], headers, b"".join(event["body"] for event in sent[1:]))


def _name(key: str) -> bytes:
    return PARTS.get(key, key.removeprefix("HTTP_").lower().replace("_", "-")).encode()


def _receiver(body: bytes) -> Receive:
    """Return what gives the body as granian does: in pieces, then an empty one; after it the client hangs up."""
    events = [{"type": "http.request", "body": body[at : at + MB], "more_body": True} for at in range(0, len(body), MB)]
    events += [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if events:
            return events.pop(0)
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    return receive


def url_of(automation: Automation) -> str:
    assert automation.trigger
    return f"/automations-api/run/{automation.trigger.uid}"


def stored(reply: Reply) -> Any:
    """Return the trigger's output of the execution that a request started."""
    assert reply.status == 202, reply.body
    run = StepRun.objects.get(execution_id=reply.json["execution_id"], key=StepRun.TRIGGER)
    return run.shown_value("input")

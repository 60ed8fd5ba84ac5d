"""Requests at trigger URLs, handed to the application as the web server would."""

from __future__ import annotations

import io
import json
from typing import Any, NamedTuple

from agentos_site.wsgi import application
from automations.models import Automation
from executions.models import StepRun

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MB = 1024 * 1024


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


def send(
    path: str, body: bytes = b"", content_type: str | None = JSON, *, method: str = "POST", **environ: Any
) -> Reply:
    """Send a request as the web server would hand it on."""
    path, _, query = path.partition("?")
    full = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_HOST": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.input": io.BytesIO(body),
        **({"CONTENT_TYPE": content_type} if content_type is not None else {}),
        **environ,
    }
    seen: list[Any] = []
    content = b"".join(application(full, lambda status, headers: seen.extend([status, headers])))
    return Reply(int(seen[0][:3]), {name.lower(): value for name, value in seen[1]}, content)


def url_of(automation: Automation) -> str:
    assert automation.trigger
    return f"/automations-api/run/{automation.trigger.uid}"


def stored(reply: Reply) -> Any:
    """Return the trigger's output of the execution that a request started."""
    assert reply.status == 202, reply.body
    run = StepRun.objects.get(execution_id=reply.json["execution_id"], key=StepRun.TRIGGER)
    return run.shown_value("input")

"""The stored payload of a trigger as a cURL command that starts a new execution with it; it never holds a secret."""

from __future__ import annotations

import shlex
from typing import Any
from urllib.parse import urlencode

from connectors.sdk.call import JSON
from executions import sealed_json
from executions.models import Execution, StepRun

PLACEHOLDER = "<secret>"
LONGEST = 32 * 1024  # characters of a payload; terminals take no longer line, and a file serves better


def command(execution: Execution) -> str | None:
    """Return the command, or None when there is no trigger URL to post to or the payload is too large to paste."""
    trigger = execution.automation.trigger
    run = StepRun.objects.filter(execution_id=execution.pk, attempt=0, key=StepRun.TRIGGER).first()
    if trigger is None or run is None or run.input_bytes > LONGEST:
        return None
    payload = run.shown_value("input")
    if not isinstance(payload, dict):
        return None
    query = payload.get("query")
    url = f"{trigger.url}?{urlencode(query, doseq=True)}" if isinstance(query, dict) and query else trigger.url
    parts = ["curl", "-X", str(payload.get("method") or "POST"), url]
    if trigger.encrypted_secret:  # a placeholder, because commands end up in shell histories and chats
        parts += ["-H", f"ah-http-key: {PLACEHOLDER}"]
    return shlex.join(parts + _body(payload.get("body"), payload.get("headers")))


def _body(body: JSON, headers: Any) -> list[str]:
    if body is None:
        return []
    if isinstance(body, str):
        return ["-H", f"Content-Type: {_text_type(headers)}", "--data-raw", body]
    return ["-H", "Content-Type: application/json", "--data-raw", sealed_json.dumps(body)]


def _text_type(headers: Any) -> str:
    given = headers.get("content-type") if isinstance(headers, dict) else None
    return given if isinstance(given, str) and given.startswith("text/") else "text/plain"

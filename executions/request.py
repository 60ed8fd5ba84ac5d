"""Reads one request at a trigger URL into the trigger's output, or refuses it naming the field and the rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson
from django.conf import settings

from connectors.call import JSON
from executions import encoding
from executions.intake import LiveTrigger

SECRET_NAME = "ah-http-key"
FIELD_LIMIT = 1000


class Refused(Exception):
    """The request is refused, and nothing of it is stored."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: list[tuple[str, str]] | None = None,
        extra: dict[str, JSON] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or []
        self.extra = extra or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRequest:
    """What a request hands to its automation, and the secret that it showed at the door."""

    payload: dict[str, JSON]
    secret: str = field(repr=False, default="")


def read_request(environ: dict[str, Any], live: LiveTrigger) -> TriggerRequest:
    """Return the request; raise Refused when any part of it cannot be stored exactly."""
    method = environ["REQUEST_METHOD"]
    if method not in ("GET", "POST"):
        raise Refused(405, "method_not_allowed", "Use GET or POST.", headers=[("Allow", "GET, POST")])
    query, secret = _query(environ)
    body = _body(environ) if method == "POST" else None
    payload: dict[str, JSON] = {"method": method, "query": query, "headers": {}, "body": body}
    return TriggerRequest(payload=payload, secret=environ.get("HTTP_AH_HTTP_KEY", "") or secret)


def _query(environ: dict[str, Any]) -> tuple[JSON, str]:
    pairs = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True, max_num_fields=FIELD_LIMIT)
    secret = next((value for name, value in pairs if name == SECRET_NAME), "")
    return {name: value for name, value in pairs if name != SECRET_NAME}, secret


def _body(environ: dict[str, Any]) -> JSON:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > settings.BODY_LIMIT:
        raise Refused(413, "body_too_large", f"The body is larger than {settings.BODY_LIMIT} bytes.")
    raw = environ["wsgi.input"].read(length)
    try:
        return encoding.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "invalid_json", str(error)) from None

"""The answers of the API: always JSON, errors too, and never cached."""

from __future__ import annotations

import orjson
from django.http import HttpRequest, HttpResponse

from connectors.sdk import exact_json


class ApiError(Exception):
    """An error answer: its HTTP status, a stable `code` for machines, a `message` for people.

    `headers` are named like WWW_Authenticate, with _ for -.
    """

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


def ok(value: dict[str, object], *, status: int = 200) -> HttpResponse:
    """Return an answer; an `orjson.Fragment` in `value` is JSON text that is sent unchanged."""
    return _json(orjson.dumps(value), status)


def error(request: HttpRequest, refused: ApiError) -> HttpResponse:
    """Return an error's answer: `{"error": {"code", "message", "request_id"}}` with its status and headers."""
    request_id = getattr(request, "request_id", "")
    details = {"code": refused.code, "message": refused.message, "request_id": request_id}
    answer = _json(exact_json.dumps({"error": details}), refused.status)
    for name, value in refused.headers.items():
        answer[name.replace("_", "-")] = value
    return answer


def _json(body: bytes, status: int) -> HttpResponse:
    answer = HttpResponse(body, content_type="application/json", status=status)
    answer["Cache-Control"] = "no-store"
    return answer

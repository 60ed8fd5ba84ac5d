"""A request id for every answer, so that a person and a log line can be brought together."""

from __future__ import annotations

from collections.abc import Callable

import uuid_utils
from django.http import HttpRequest, HttpResponse

type View = Callable[[HttpRequest], HttpResponse]


def request_id(get_response: View) -> View:
    def middleware(request: HttpRequest) -> HttpResponse:
        request.request_id = uuid_utils.uuid7().hex  # type: ignore[attr-defined]
        response = get_response(request)
        response["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
        return response

    return middleware

"""Tell a view whether htmx asks for a part of its page."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


class HtmxRequest(HttpRequest):
    """A request as django-htmx's middleware leaves it; for types only."""

    htmx: HtmxDetails


def wants_part(request: HttpRequest) -> bool:
    """Return whether the answer replaces a part of the page.

    htmx asks for whole pages too: to replace the body, and when the reader goes back in the browser's history.
    """
    htmx = cast(HtmxRequest, request).htmx
    return bool(htmx) and htmx.request_type == "partial" and not htmx.history_restore_request

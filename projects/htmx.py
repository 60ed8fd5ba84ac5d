"""What a view must know of htmx: whether it asks for a part of the page."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


class HtmxRequest(HttpRequest):
    htmx: HtmxDetails


def wants_part(request: HttpRequest) -> bool:
    """Return whether htmx puts the answer into the page; when it restores history it wants the whole page."""
    htmx = cast(HtmxRequest, request).htmx
    return bool(htmx) and htmx.request_type == "partial" and not htmx.history_restore_request

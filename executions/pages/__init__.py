"""The pages of executions: the log, one execution, usage, help."""

from __future__ import annotations

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


class HtmxRequest(HttpRequest):
    htmx: HtmxDetails


def wants_fragment(request: HtmxRequest) -> bool:
    """Return whether htmx swaps this answer in; when it restores history it wants the whole page."""
    return bool(request.htmx) and not request.htmx.history_restore_request

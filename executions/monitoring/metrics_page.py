"""The page /metrics, for a Prometheus that sends METRICS_TOKEN. An installation without the token has no such page."""

from __future__ import annotations

import hmac

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from executions.monitoring import prometheus


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer in Prometheus' text format 0.0.4; 401 for a wrong token, 404 when no token is configured."""
    if not settings.METRICS_TOKEN:
        raise Http404
    if not _is_allowed(request.headers.get("Authorization", "")):
        refused = HttpResponse("METRICS_TOKEN is missing or wrong.\n", status=401, content_type="text/plain")
        refused["WWW-Authenticate"] = 'Bearer realm="metrics"'
        return refused
    return HttpResponse(prometheus.text(), content_type=prometheus.CONTENT_TYPE)


def _is_allowed(header: str) -> bool:
    scheme, _, token = header.partition(" ")
    given = token.strip().encode("utf-8", "surrogatepass")
    return scheme.lower() == "bearer" and hmac.compare_digest(given, settings.METRICS_TOKEN.encode())

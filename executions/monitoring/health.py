"""The page for load balancers: whether executions can be accepted and run. `agentos_site.asgi` answers /healthz."""

from __future__ import annotations

from django.db import Error
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from executions.models import ALIVE, Engine
from executions.monitoring.database import BEHIND, why_no_writes
from executions.monitoring.secrets import why_unreadable
from executions.monitoring.trouble import why_no_engine
from executions.store import errors
from projects import quiet


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 if the database answers and an engine has a lease, else 503 with the reason."""
    reason = why_not_ready()
    status = "quiet" if quiet.reason() else "not ready"
    return JsonResponse({"status": status, "reason": reason} if reason else {"status": "ok"},
                        status=503 if reason else 200)  # fmt: skip


def why_not_ready() -> str:
    """Return the reason why executions cannot be accepted or run now; empty when they can."""
    fresh = Engine.objects.filter(ALIVE, is_stopping=False, is_quarantine=False)
    try:
        if why := why_no_writes():
            return why
        unreadable = why_unreadable()
        no_engine = "" if fresh.exists() else why_no_engine()
    except Error as error:
        fault = errors.let_go(error)
        return BEHIND if fault is errors.BEHIND else fault.sentence
    if why := quiet.reason():
        return f"This installation keeps quiet. {why} Run manage.py restored."
    return unreadable or no_engine

"""The requests at an automation's trigger URLs and their outcomes, executed or not."""

from __future__ import annotations

import uuid

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from automations.models import Automation
from executions.api import answers, parameters, shapes
from executions.api.endpoint import Caller, endpoint
from executions.log.request_list import RequestLine, Search
from executions.models import Outcome


@endpoint("GET", "HEAD")
def receipts(request: HttpRequest, caller: Caller, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    kept = Automation.objects.kept().filter(project__in=caller.projects.filter(pk=project_uid))
    automation = get_object_or_404(kept, pk=automation_uid)
    start, end = parameters.span(request)
    search = Search(automation=automation, outcome=_outcome(request), start=start, end=end)
    limit = parameters.number(request, "limit", most=parameters.PAGE_LIMIT, default=parameters.PAGE_LIMIT)
    lines = search.newest(limit + 1, before=parameters.uid(request, "cursor"))
    shown = lines[:limit]
    more = bool(shown) and len(lines) > limit
    found = {"receipts": [_shape(automation, line) for line in shown]}
    return answers.ok({**found, "next_cursor": str(shown[-1].id) if more else None})


def _outcome(request: HttpRequest) -> Outcome | None:
    value = parameters.text(request, "outcome")
    if value and value not in Outcome.values:
        raise parameters.bad("outcome", f"must be one of {', '.join(Outcome.values)}.")
    return Outcome(value) if value else None


def _shape(automation: Automation, line: RequestLine) -> shapes.Shape:
    return {
        "id": str(line.id),
        "rule_id": str(automation.uid),
        "project_id": str(automation.project_id),
        "org_id": str(automation.organization_id),
        "outcome": line.outcome.value,
        "http_status": line.http_status,
        "code": line.code,
        "reason": line.words,
        "execution_id": str(line.execution_id) if line.execution_id else None,
        "created_at": shapes.at(line.received_at),
    }

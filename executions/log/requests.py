"""The page of the requests at an automation's trigger URLs: the outcome of each, and the totals."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from automations.models import Automation
from executions.log.filters import RequestFilters
from executions.log.listing import NEW_LIMIT, PAGE_SIZE, as_uuid, shown_rows
from executions.log.request_list import Search, line_of, request_totals, start_of
from executions.models import Execution


@login_required
@require_safe
def requests(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    automation = _own(request, project_uid, automation_uid)
    filters = _filters(request)
    before = as_uuid(request.GET.get("before", ""))
    lines = _search(automation, filters).newest(PAGE_SIZE + 1, before=before)
    shown = lines[:PAGE_SIZE]
    older = shown[-1].id if len(lines) > PAGE_SIZE else None
    context = _context(automation, filters) | {"lines": shown, "before": before, "older": older}
    return render(request, "executions/requests.html", context)


@login_required
@require_safe
def delta(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    """Answer the rows that have changed since the page drew them, the new totals, and the number of new requests."""
    automation = _own(request, project_uid, automation_uid)
    filters = _filters(request)
    text = request.GET.get("rows", "")
    shown = shown_rows(text)
    rows = Execution.objects.filter(automation=automation, pk__in=[pk for pk, rev in shown.items() if rev])
    changed = [line_of(row) for row in rows if row.rev != shown[row.pk]]
    is_newest_page = "before" not in request.GET
    is_full = len(shown) >= PAGE_SIZE
    new = _search(automation, filters).count_others(list(shown), NEW_LIMIT, is_full=is_full) if is_newest_page else 0
    context = _context(automation, filters)
    # The page lists the total that it shows among its rows.
    has_sum = f"balance:{context['balance'].received}" in text.split(",")
    if not changed and not new and has_sum:
        return HttpResponse(status=204)
    new_in_words = f"{NEW_LIMIT - 1}+" if new == NEW_LIMIT else new
    return render(request, "executions/requests.html#delta", context | {"changed": changed, "new": new_in_words})


def _own(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> Automation:
    automations = Automation.objects.for_user(request.user).select_related("project__organization")
    return get_object_or_404(automations, pk=automation_uid, project=project_uid)


def _filters(request: HttpRequest) -> RequestFilters:
    filters = RequestFilters(request.GET)
    filters.is_valid()
    return filters


def _search(automation: Automation, filters: RequestFilters) -> Search:
    return Search(automation=automation, outcome=filters.chosen_outcome, start=start_of(filters.days))


def _context(automation: Automation, filters: RequestFilters) -> dict[str, Any]:
    trigger = automation.trigger
    return {
        "project": automation.project,
        "nav": "automations",
        "automation": automation,
        "is_timed": trigger is not None and trigger.is_timed,
        "filters": filters,
        "balance": request_totals(automation, filters.days),
    }

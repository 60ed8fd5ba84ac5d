"""The page of the requests at an automation's trigger URLs: the outcome of each, and the totals."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from automations.models import Automation
from executions.log import polls
from executions.log.delta import NEW_LIMIT, REVISIONS, in_words, revisions, shown_rows
from executions.log.filters import RequestFilters
from executions.log.listing import PAGE_SIZE, as_uuid
from executions.log.poll_budget import budget
from executions.log.request_list import Search, counters, line_of, request_totals, start_of
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
    with budget.charged(automation.project):
        return _delta(request, automation)


def _delta(request: HttpRequest, automation: Automation) -> HttpResponse:
    filters = _filters(request)
    text = request.GET.get("rows", "")
    shown = shown_rows(text)
    rows = Execution.objects.filter(automation=automation, pk__in=[pk for pk, rev in shown.items() if rev])
    depends = _depends(request, automation, filters, shown)
    result = polls.question(depends).ask()
    count = result.get("executions", 0) + result.get("receipts", 0)
    new = in_words(count) if count else ""
    found = list(rows)
    changed = [line_of(row) for row in found if row.rev != shown[row.pk]]
    is_told = not new or request.GET.get("told") == new
    revs = {row.pk: row.rev for row in found}
    if result.get("shown") == revisions(revs.values()):  # nothing has moved in between
        drawn: dict[Any, int] = {**revs, "balance": result["total"] or 0}
        polls.remember(request.META, polls.question(depends), result, shown=drawn, told=new)
    # The page lists the total that it shows among its rows.
    has_sum = f"balance:{result['total'] or 0}" in text.split(",")
    if not changed and has_sum and is_told:
        return HttpResponse(status=204)
    context = _context(automation, filters) | {"changed": changed, "new": "" if is_told else new}
    return render(request, "executions/requests.html#delta", context)


def _depends(
    request: HttpRequest, automation: Automation, filters: RequestFilters, shown: dict[uuid.UUID, int]
) -> dict[str, polls.Value]:
    """Return the values on which an answer depends."""
    depends: dict[str, polls.Value] = {
        "total": ("SUM(count)", counters(automation, filters.days).values_list("count")),
    }
    if changing := [pk for pk, rev in shown.items() if rev]:  # the rows of executions
        executions = Execution.objects.filter(automation=automation, pk__in=changing)
        depends["shown"] = (REVISIONS, executions.order_by().values_list("rev"))
    if "before" not in request.GET:
        search, is_full = _search(automation, filters), len(shown) >= PAGE_SIZE
        found: dict[str, QuerySet[Any]] = {"executions": search.executions, "receipts": search.receipts}
        for name, rows in found.items():
            missing = search.missing(rows, list(shown), is_full=is_full)
            depends[name] = ("COUNT(*)", missing.values_list("pk")[:NEW_LIMIT])
    return depends


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

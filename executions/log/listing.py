"""The Execution Log: the list, its filters, and its live updates."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from automations.models import Automation
from executions.log.filters import LogFilters
from executions.log.pending import why_each_pending
from executions.models import Execution, ExecutionQuerySet
from projects.models import Project
from projects.views import own_project

PAGE_SIZE = 50
NEW_LIMIT = 100  # new executions counted at most; the page then says "99+"
LAST_EXECUTIONS = 10


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the log; `before` is its cursor, `older` the cursor of the next page, None on the last one."""

    executions: list[Execution]
    before: uuid.UUID | None
    older: uuid.UUID | None


@login_required
@require_safe
def log(request: HttpRequest, project_uid: uuid.UUID) -> HttpResponse:
    project = own_project(request, project_uid)
    filters = LogFilters(request.GET, project=project)
    filters.is_valid()
    page = _page(filters.narrow(_executions(project)), before=as_uuid(request.GET.get("before", "")))
    context = {
        "project": project,
        "nav": "executions",
        "filters": filters,
        "page": page,
        "waits": why_each_pending(project.organization, page.executions),
        "is_unused": not page.executions and not _executions(project).exists(),
    }
    return render(request, "executions/log.html", context)


@login_required
@require_safe
def delta(request: HttpRequest, project_uid: uuid.UUID) -> HttpResponse:
    """Answer the rows that have changed since the page drew them, and the number of matching ones that it lacks."""
    project = own_project(request, project_uid)
    shown = shown_rows(request.GET.get("rows", ""))
    rows = list(_executions(project).filter(pk__in=shown))
    waits = why_each_pending(project.organization, rows)
    # A place in line moves without any change of its row.
    changed = [row for row in rows if row.rev != shown[row.pk] or (row.pk in waits and waits[row.pk].place)]
    filters = LogFilters(request.GET, project=project)
    filters.is_valid()
    is_newest_page = "before" not in request.GET
    new = _count_new(filters.narrow(_executions(project)), shown) if is_newest_page else 0
    if not changed and not new:
        return HttpResponse(status=204)
    new_in_words = f"{NEW_LIMIT - 1}+" if new == NEW_LIMIT else new
    context = {"project": project, "changed": changed, "new": new_in_words, "waits": waits}
    return render(request, "executions/log.html#delta", context)


@login_required
@require_safe
def last_executions(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    """Answer an automation's latest executions as a row of small bars, oldest first."""
    project = own_project(request, project_uid)
    automation = get_object_or_404(Automation.objects.for_user(request.user), pk=automation_uid, project=project)
    latest = _executions(project).filter(automation=automation).newest_first()[:LAST_EXECUTIONS]
    context = {"project": project, "automation": automation, "executions": list(latest)[::-1]}
    return render(request, "executions/_last.html", context)


def _executions(project: Project) -> ExecutionQuerySet:
    return Execution.objects.filter(project=project).for_list()


def _page(executions: ExecutionQuerySet, *, before: uuid.UUID | None) -> Page:
    rows = list(executions.newest_first(before=before)[: PAGE_SIZE + 1])  # one more tells of an older page
    shown = rows[:PAGE_SIZE]
    return Page(shown, before, shown[-1].pk if len(rows) > PAGE_SIZE else None)


def _count_new(matching: ExecutionQuerySet, shown: dict[uuid.UUID, int]) -> int:
    """Count the executions that the newest page lacks: new ones, and ones that match only since it was drawn."""
    missing = matching.exclude(pk__in=shown)
    if len(shown) >= PAGE_SIZE:  # older executions belong on the next page
        missing = missing.filter(pk__gt=min(shown))
    return len(missing.newest_first().values_list("pk")[:NEW_LIMIT])


def shown_rows(text: str) -> dict[uuid.UUID, int]:
    """Read `<uid>:<rev>,...` into revisions by id; leave out items that are not understood."""
    shown = {}
    for item in text.split(",")[: 2 * PAGE_SIZE]:  # bounds the query of a forged address
        uid, _, rev = item.partition(":")
        identifier = as_uuid(uid)
        if identifier and rev.isdecimal() and len(rev) < 10:
            shown[identifier] = int(rev)
    return shown


def as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None

"""The Execution Log: the list and its filters."""

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
    page = _page(filters.narrow(executions_of(project)), before=as_uuid(request.GET.get("before", "")))
    context = {
        "project": project,
        "nav": "executions",
        "filters": filters,
        "page": page,
        "waits": why_each_pending(project.organization, page.executions),
        "is_unused": not page.executions and not executions_of(project).exists(),
    }
    return render(request, "executions/log.html", context)


@login_required
@require_safe
def last_executions(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    """Answer an automation's latest executions as a row of small bars, oldest first."""
    project = own_project(request, project_uid)
    automation = get_object_or_404(Automation.objects.for_user(request.user), pk=automation_uid, project=project)
    latest = executions_of(project).filter(automation=automation).newest_first()[:LAST_EXECUTIONS]
    context = {"project": project, "automation": automation, "executions": list(latest)[::-1]}
    return render(request, "executions/_last.html", context)


def executions_of(project: Project) -> ExecutionQuerySet:
    return Execution.objects.filter(project=project).for_list()


def _page(executions: ExecutionQuerySet, *, before: uuid.UUID | None) -> Page:
    rows = list(executions.newest_first(before=before)[: PAGE_SIZE + 1])  # one more tells of an older page
    shown = rows[:PAGE_SIZE]
    return Page(shown, before, shown[-1].pk if len(rows) > PAGE_SIZE else None)


def as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None

"""API v1: projects, automations, executions with their steps and payloads, retry and cancel."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from automations.models import Automation
from executions.api import answers, parameters, shapes
from executions.api.answers import ApiError
from executions.api.endpoint import Caller, endpoint
from executions.api.parameters import Window
from executions.models import Execution, ExecutionQuerySet, stopping
from executions.models.retry import RetryRefused
from executions.models.stopping import AlreadyEnded
from executions.stop import cancelled_by
from projects.models import Project, ProjectQuerySet

COUNT_LIMIT = 10_000  # rows that an answer counts at most, as the tables grow without end
SORTS = {"created_at": "created_at", "title": "name", "updated_at": "updated_at"}
READ = ("GET", "HEAD")


@endpoint(*READ)
def projects(request: HttpRequest, caller: Caller) -> HttpResponse:
    window = parameters.window(request, sorts=tuple(SORTS))
    rows = _projects(caller)
    return answers.ok({"projects": [shapes.project(row) for row in _part(rows, window)], **_count(rows, window)})


@endpoint(*READ)
def project(request: HttpRequest, caller: Caller, project_uid: uuid.UUID) -> HttpResponse:
    return answers.ok(shapes.project(_project(caller, project_uid)))


@endpoint(*READ)
def automations(request: HttpRequest, caller: Caller, project_uid: uuid.UUID) -> HttpResponse:
    window = parameters.window(request, sorts=tuple(SORTS))
    with_steps = parameters.flag(request, "show_steps")
    rows = _automations(_project(caller, project_uid))
    if (is_active := parameters.active(request)) is not None:
        rows = rows.filter(is_active=is_active)
    shown = [shapes.automation(row, with_steps=with_steps) for row in _part(rows, window)]
    return answers.ok({"rules": shown, **_count(rows, window)})


@endpoint(*READ)
def automation(request: HttpRequest, caller: Caller, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    with_steps = parameters.flag(request, "show_steps")
    row = get_object_or_404(_automations(_project(caller, project_uid)), pk=automation_uid)
    return answers.ok(shapes.automation(row, with_steps=with_steps))


@endpoint(*READ)
def executions(request: HttpRequest, caller: Caller, project_uid: uuid.UUID) -> HttpResponse:
    window = parameters.window(request, sorts=("created_at",))
    cursor = _cursor(request, window)
    rows = _matching(request, _project(caller, project_uid))
    page = _page(rows, window, cursor)
    shown = page[: window.limit]
    more = bool(shown) and len(page) > window.limit
    found = {"executions": shapes.executions(shown), "next_cursor": str(shown[-1].pk) if more else None}
    return answers.ok({**found, **_count(rows, window)})


@endpoint(*READ)
def execution(request: HttpRequest, caller: Caller, project_uid: uuid.UUID, execution_id: uuid.UUID) -> HttpResponse:
    return answers.ok(_shown(_execution(caller, project_uid, execution_id)))


@endpoint("POST")
def retry(request: HttpRequest, caller: Caller, project_uid: uuid.UUID, execution_id: uuid.UUID) -> HttpResponse:
    row = _execution(caller, project_uid, execution_id)
    try:
        row.retry(caller.user)
    except RetryRefused as refused:
        raise ApiError(409, refused.code, refused.sentence) from None
    return answers.ok(_shown(_execution(caller, project_uid, execution_id)), status=202)


@endpoint("POST")
def cancel(request: HttpRequest, caller: Caller, project_uid: uuid.UUID, execution_id: uuid.UUID) -> HttpResponse:
    row = _execution(caller, project_uid, execution_id)
    try:
        stopping.stop(row, cancelled_by(str(caller.user)))
    except AlreadyEnded as refused:
        raise ApiError(409, "already_ended", refused.sentence) from None
    return answers.ok(_shown(_execution(caller, project_uid, execution_id)), status=202)


def _projects(caller: Caller) -> ProjectQuerySet:
    return caller.projects.select_related("created_by").prefetch_related("members")


def _project(caller: Caller, uid: uuid.UUID) -> Project:
    return get_object_or_404(_projects(caller), pk=uid)


def _automations(project: Project) -> QuerySet[Automation]:
    return Automation.objects.kept().filter(project=project).select_related("live_version")


def _execution(caller: Caller, project_uid: uuid.UUID, execution_id: uuid.UUID) -> Execution:
    return get_object_or_404(_with_names(caller.executions_of(project_uid)), pk=execution_id)


def _with_names(rows: ExecutionQuerySet) -> ExecutionQuerySet:
    return rows.for_list().select_related("version").defer("automation__draft", "version__definition")


def _shown(row: Execution) -> shapes.Shape:
    return shapes.executions([row])[0]


def _matching(request: HttpRequest, project: Project) -> ExecutionQuerySet:
    rows = Execution.objects.filter(project=project).between(*parameters.span(request))
    if statuses := parameters.statuses(request):
        rows = rows.with_status(*statuses)
    if uid := parameters.uid(request, "automation"):
        if not Automation.objects.filter(project=project, pk=uid).exists():
            raise parameters.bad("automation", "is not an automation of this project.")
        rows = rows.filter(automation=uid)
    return rows


def _cursor(request: HttpRequest, window: Window) -> uuid.UUID | None:
    cursor = parameters.uid(request, "cursor")
    if cursor and window.skip:
        raise parameters.bad("skip", "cannot be sent together with cursor.")
    return cursor


def _page(rows: ExecutionQuerySet, window: Window, cursor: uuid.UUID | None) -> list[Execution]:
    """Return a page and one row more, which tells of another page. Ids order executions by their creation."""
    if cursor:
        rows = rows.filter(id__gt=cursor) if window.is_ascending else rows.filter(id__lt=cursor)
    ordered = _with_names(rows).order_by("id" if window.is_ascending else "-id")
    return list(ordered[window.skip : window.skip + window.limit + 1])


def _part[Q: QuerySet[Any]](rows: Q, window: Window) -> Q:
    sign = "" if window.is_ascending else "-"
    # The key completes the order, so that no row is on two pages or on none.
    ordered = rows.order_by(f"{sign}{SORTS[window.sort]}", f"{sign}pk")
    return ordered[window.skip : window.skip + window.limit]


def _count(rows: QuerySet[Any], window: Window) -> dict[str, object]:
    if not window.wants_count:
        return {}
    found = rows.order_by()[: COUNT_LIMIT + 1].count()
    return {"count": min(found, COUNT_LIMIT), "count_is_exact": found <= COUNT_LIMIT}

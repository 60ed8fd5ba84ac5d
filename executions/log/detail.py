"""The page of one execution, which is also the pop-up, with Retry Execution and Cancel."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from executions.log import curl, polls
from executions.log.poll_budget import budget
from executions.log.presenter import STOPPING, ExecutionPage
from executions.models import Execution, StepRun, stopping
from executions.models.retry import RetryRefused
from executions.models.stopping import AlreadyEnded
from executions.states import ATTEMPT_LIMIT, FINAL, Status
from executions.stop import cancelled_by
from projects.htmx import HtmxRequest, wants_part
from projects.models import Project
from projects.views import own_project, signed_in

CANCELLED = "Cancelled. The execution has ended."


def own_execution(request: HtmxRequest, project_uid: uuid.UUID, execution_id: uuid.UUID) -> Execution:
    executions = Execution.objects.for_user(request.user).filter(project=project_uid)
    related = executions.select_related("automation__live_version", "version", "trigger")
    return get_object_or_404(related.defer("automation__draft"), pk=execution_id)


@login_required
@require_safe
@never_cache
@vary_on_headers("HX-Request")
def detail(request: HtmxRequest, project_uid: uuid.UUID, execution_id: uuid.UUID) -> HttpResponse:
    project = own_project(request, project_uid)
    if "seen" not in request.GET:
        return _detail(request, project, execution_id)
    with budget.charged(project):
        return _detail(request, project, execution_id)


def _detail(request: HtmxRequest, project: Project, execution_id: uuid.UUID) -> HttpResponse:
    seen = request.GET.get("seen")
    question = polls.question(_depends(project, execution_id))
    result = question.ask() if seen else {}  # older than all that the page reads
    execution = own_execution(request, project.pk, execution_id)
    page = ExecutionPage(execution, _attempt(request, execution))
    if page.shown is None:
        raise Http404("No such attempt.")
    if seen == page.etag:  # htmx leaves the page as it is
        if execution.state is not Status.PENDING:  # whose place and reason change without any change of its row
            polls.remember(request.META, question, result)
        return HttpResponse(status=204)
    is_fragment = wants_part(request)
    context = {"project": project, "nav": "executions", "is_page": not is_fragment or "page" in request.GET}
    return render(request, f"executions/detail.html{'#fragment' if is_fragment else ''}", context | _context(page))


@login_required
@require_POST
def retry(request: HtmxRequest, project_uid: uuid.UUID, execution_id: uuid.UUID) -> HttpResponse:
    project = own_project(request, project_uid)
    execution = own_execution(request, project_uid, execution_id)
    return _acted(request, project, execution, refused=_try_to_retry(request, execution))


@login_required
@require_POST
def cancel(request: HtmxRequest, project_uid: uuid.UUID, execution_id: uuid.UUID) -> HttpResponse:
    project = own_project(request, project_uid)
    execution = own_execution(request, project_uid, execution_id)
    seen = request.POST.get("attempt", "")
    attempt = int(seen[:9]) if seen.isascii() and seen.isdigit() else None
    try:
        status = stopping.stop(execution, cancelled_by(str(signed_in(request))), attempt=attempt)
    except AlreadyEnded as refused:
        return _acted(request, project, execution, refused=refused.sentence)
    return _acted(request, project, execution, done=CANCELLED if status in FINAL else STOPPING)


def _acted(
    request: HtmxRequest, project: Project, execution: Execution, *, refused: str = "", done: str = ""
) -> HttpResponse:
    """Answer an action on an execution: with its page as it is now and what was done, or why nothing was."""
    if not wants_part(request):
        if refused or done:
            messages.add_message(request, messages.ERROR if refused else messages.SUCCESS, refused or done)
        return redirect("executions:detail", project.pk, execution.pk)
    execution = own_execution(request, project.pk, execution.pk)  # this action, or another person, changed it
    context = {"project": project, "is_page": "page" in request.GET, "refused": refused}
    page = ExecutionPage(execution, execution.attempt)
    answer = render(request, "executions/detail.html#fragment", context | _context(page))
    if done:
        answer["HX-Trigger"] = json.dumps({"toast": {"text": done, "level": "success", "target": "body"}})
    return answer


def _try_to_retry(request: HtmxRequest, execution: Execution) -> str:
    """Retry the attempt that the person saw; return the reason against it, or an empty text."""
    if request.POST.get("attempt", str(execution.attempt)) != str(execution.attempt):
        return "This attempt has already been retried. The latest attempt is shown below."
    try:
        execution.retry(signed_in(request))
    except RetryRefused as refused:
        return refused.sentence
    return ""


def _attempt(request: HtmxRequest, execution: Execution) -> int:
    asked = request.GET.get("attempt", "")
    if not asked:
        return execution.attempt
    # Cut to nine digits, because int() raises an error for thousands of them.
    if not asked.isdecimal() or not 1 <= int(asked[:9]) <= execution.attempt:
        raise Http404("No such attempt.")
    return int(asked[:9])


def _depends(project: Project, execution_id: uuid.UUID) -> dict[str, polls.Value]:
    """Return the values on which the page of an execution depends that has started."""
    rows = Execution.objects.filter(project=project, pk=execution_id)
    runs = StepRun.objects.filter(execution_id=execution_id)
    steps = "COUNT(*) || '.' || SUM((position + 1) * (1000 * status + tries))"
    return {
        "execution": ("SUM(rev)", rows.values_list("rev")),
        "steps": (steps, runs.values_list("position", "status", "tries")),
    }


def _context(page: ExecutionPage) -> dict[str, Any]:
    execution = page.execution
    is_stuck = page.is_current and execution.state is Status.FAILED and page.refusal is not None
    return {
        "page": page,
        "execution": execution,
        "waits": {execution.pk: page.waiting} if page.waiting else {},
        "attempt_limit": ATTEMPT_LIMIT,
        "retry_limit": ATTEMPT_LIMIT - 1,
        "curl": curl.command(execution) if is_stuck else None,
        "support_email": settings.SUPPORT_EMAIL,
    }

"""Deleting an automation: it asks first what becomes of the executions that have not ended."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from automations.builder.overview import show_overview
from automations.builder.page import own_automation, show_pane
from automations.models import Automation
from executions.models import Execution, stopping
from executions.states import Status
from projects.views import signed_in

COUNTED = 1000  # executions that are counted for the question, of each status
BUDGET_S = 2.0  # seconds of cancelling before the answer; housekeeping goes on after it


@login_required
@require_POST
def delete(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    """Delete the automation only if the user typed its name, so that a stray click cannot."""
    automation = own_automation(request, project_uid, automation_uid)
    name, choice = request.POST.get("name", "").strip(), request.POST.get("unfinished", "")
    if name != automation.name:
        messages.error(request, "Not deleted. The name does not match this automation.")
        return show_overview(request, automation, status=422)
    unfinished = _unfinished(automation)
    if unfinished and choice not in ("cancel", "finish"):
        return show_pane(request, automation, "delete", unfinished=unfinished)
    if choice == "cancel":
        automation.delete(cancels_for=str(signed_in(request)))
        has_more = stopping.stop_deleted(automation.pk, budget_s=BUDGET_S)
        ended = "Its executions are being cancelled." if has_more else "What waited is cancelled."
    else:
        automation.delete()
        ended = "Accepted executions still finish." if unfinished else ""
    messages.success(request, " ".join(filter(None, [f"“{name}” deleted.", ended, "Its executions stay readable."])))
    return redirect("automations:list", automation.project_id)


def _unfinished(automation: Automation) -> list[str]:
    """Return the numbers of the executions that have not ended, in words, by status."""
    found = []
    for status in (Status.PENDING, Status.PAUSED, Status.RUNNING):
        rows = Execution.objects.filter(automation=automation).with_status(status)
        if number := rows.order_by()[: COUNTED + 1].count():
            found.append(f"{'more than ' if number > COUNTED else ''}{min(number, COUNTED):,} {status.label}")
    return found

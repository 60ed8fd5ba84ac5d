"""A project's automations: the list, a new one, a copy, and the switch."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db import IntegrityError, transaction
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from automations.builder import checks
from automations.builder.forms import NewAutomationForm
from automations.builder.page import address, own_automation
from automations.builder.samples import Samples
from automations.definition import Definition
from automations.models import Automation, NotReady, Trigger
from connectors.registry import CONNECTORS
from projects import shown_once
from projects.htmx import wants_part
from projects.models import Project
from projects.views import own_project, signed_in

PAGE_SIZE = 50


@login_required
@require_safe
def automation_list(request: HttpRequest, project_uid: uuid.UUID) -> HttpResponse:
    project = own_project(request, project_uid)
    # One query for the triggers of a whole page, and `live_version` joined: a long list asks no more than a short one.
    in_use = Trigger.objects.filter(replaced_at=None).select_related("schedule").order_by("-created_at")
    triggers = Prefetch("triggers", in_use, "in_use")
    # PostgreSQL refuses a text that holds a null character.
    wanted = request.GET.get("q", "").replace("\x00", "")[:100].strip()
    automations = project.automations.kept().select_related("live_version").prefetch_related(triggers)
    if wanted:
        automations = automations.filter(name__icontains=wanted)
    page = Paginator(automations.order_by("name"), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "project": project,
        "nav": "automations",
        "page": page,
        "rows": [_row(automation) for automation in page],
        "q": wanted,
    }
    return render(request, "automations/list.html" + ("#automations" if wants_part(request) else ""), context)


def _row(automation: Any) -> dict[str, Any]:
    """Return what a row shows, read from the draft as stored: validating 50 whole definitions would cost too much."""
    part = automation.draft.get("trigger", {})
    steps = automation.draft.get("steps", [])
    trigger = next(iter(automation.in_use), None)
    used = dict.fromkeys(step.get("connector", "") for step in steps)
    return {
        "automation": automation,
        "trigger": trigger,
        # A trigger without a row in the other table has no attribute of its name.
        "next_at": trigger.schedule.next_at if trigger and hasattr(trigger, "schedule") else None,
        "connector": CONNECTORS.get(part.get("connector", "")),
        "steps": len(steps),
        "used": [CONNECTORS[key] for key in used if key in CONNECTORS],
    }


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, project_uid: uuid.UUID) -> HttpResponse:
    project = own_project(request, project_uid)
    form = NewAutomationForm(request.POST or None, instance=Automation(project=project))
    if form.is_valid():
        made = _make_automation(form, project, request)
        if made is not None:
            return redirect(address("trigger" if made.trigger is None else "builder", made))
        form.add_error("name", f"“{form.cleaned_data['name']}” is already used in this project.")
    context = {"project": project, "nav": "automations", "form": form}
    return render(request, "automations/new.html", context, status=422 if form.is_bound else 200)


def _make_automation(form: NewAutomationForm, project: Project, request: HttpRequest) -> Automation | None:
    """Return the new automation, or the one that the same form made before; None when the name is taken."""
    automation = form.instance
    automation.uid = form.cleaned_data["uid"]
    automation.organization_id, automation.created_by = project.organization_id, signed_in(request)
    automation.draft = Definition().model_dump(mode="json")
    try:
        with transaction.atomic():  # so that the look-up below is not part of a transaction that has failed
            automation.save(force_insert=True)
    except IntegrityError:
        return project.automations.kept().filter(pk=automation.uid).first()
    return automation


@login_required
@require_POST
def toggle(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    """Switch an automation on or off; one with warnings goes to its builder first, which shows them and asks."""
    automation = own_automation(request, project_uid, automation_uid)
    if request.POST.get("active") != "on":
        automation.deactivate()
        messages.success(
            request, f"“{automation.name}” is off. No new executions start; accepted executions still finish."
        )
        return redirect("automations:list", project_uid)
    if checks.warnings(Samples(automation, automation.definition)):
        return redirect(address("activate", automation))
    try:
        automation.activate(signed_in(request))
        messages.success(request, f"“{automation.name}” is on.")
    except NotReady:
        return redirect(address("activate", automation))
    return redirect("automations:list", project_uid)


@login_required
@require_POST
def duplicate(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    """Make an inactive copy, with a trigger of its own, so that no caller of the original starts the copy."""
    original = own_automation(request, project_uid, automation_uid)
    copy, secret = original.duplicate(signed_in(request))
    if copy.trigger:
        shown_once.keep(request, copy.trigger.uid, secret)
    messages.success(request, f"“{copy.name}” created. The copy is inactive and has its own trigger.")
    return redirect(address("trigger", copy))

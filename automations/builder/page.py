"""What all panes of a builder share: the automation asked for, the page around a pane, the draft it was drawn from."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render, resolve_url

from automations import timing
from automations.builder.flow import cards_of
from automations.builder.samples import Samples
from automations.definition import Definition
from automations.models import Automation
from connectors.registry import CONNECTORS
from projects.htmx import wants_part


def own_automation(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> Automation:
    """Return an automation that the person may see; raise Http404, which tells nobody whether there is one."""
    automations = Automation.objects.for_user(request.user).select_related("project__organization", "live_version")
    return get_object_or_404(automations, pk=automation_uid, project=project_uid)


def address(name: str, automation: Automation, *more: Any) -> str:
    """Return the URL of one of an automation's pages."""
    return resolve_url(f"automations:{name}", automation.project_id, automation.pk, *more)


def show_pane(
    request: HttpRequest,
    automation: Automation,
    pane: str,
    *,
    definition: Definition | None = None,
    status: int = 200,
    **context: Any,
) -> HttpResponse:
    """Return the builder with one pane open: the whole page, or only the part that htmx replaces.

    `definition` is the automation's draft, for callers that have read it already; `context` is the pane's own.
    """
    definition = definition or automation.definition
    samples = Samples(automation, definition)
    template = "automations/builder.html"
    if wants_part(request):
        template += "#builder"
    return render(
        request,
        template,
        {
            "project": automation.project,
            "nav": "automations",
            "automation": automation,
            "definition": definition,
            "trigger": automation.trigger,
            "trigger_connector": CONNECTORS.get(definition.trigger.connector),
            "trigger_test": samples.test_of("trigger"),
            "rule": timing.rule_of(definition.trigger),
            "cards": cards_of(samples),
            # After a conflict the form keeps its number: saving again must not overwrite the other person's work.
            "rev": request.POST.get("rev") if status == 409 else automation.draft_rev,
            "is_stale": status == 409,
            "samples": samples,
            "pane": pane,
            "pane_template": f"automations/panes/_{pane}.html",
            **context,
        },
        status=status,
    )


def seen_rev(request: HttpRequest) -> int:
    """Return the `draft_rev` that the page was drawn from; 0, which no draft has, when the request names none."""
    text = request.POST.get("rev", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0

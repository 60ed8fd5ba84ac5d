"""The builder's first pane, and the actions on a whole automation: settings, activation."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from automations import timing
from automations.builder import checks
from automations.builder.edits import Impossible
from automations.builder.forms import SettingsForm
from automations.builder.page import address, own_automation, seen_rev, show_pane
from automations.builder.samples import Samples
from automations.definition import Definition
from automations.models import Automation, NotReady, StaleDraft
from projects.views import signed_in


def edit_draft(
    request: HttpRequest, automation: Automation, change: Callable[[Definition], str], *, rev: int | None = None
) -> HttpResponse:
    """Change the draft that the request has seen (or the one of `rev`), and go to the URL that the change returns.

    A change raises KeyError for a step that the draft does not have (404), Impossible with a reason (shown, 422). A
    draft that was saved meanwhile is shown as it is now (409), and nothing is stored.
    """
    definition = automation.definition
    try:
        target = change(definition)
        automation.save_draft(definition, rev=seen_rev(request) if rev is None else rev)
    except KeyError:
        raise Http404 from None
    except Impossible as error:
        messages.error(request, str(error))
        return show_overview(request, automation, status=422)
    except StaleDraft:
        return show_overview(request, automation, status=409)
    return redirect(target)


def show_overview(
    request: HttpRequest, automation: Automation, *, form: SettingsForm | None = None, status: int = 200
) -> HttpResponse:
    definition = automation.definition
    samples = Samples(automation, definition)
    # What is live fires next, whatever the draft says; the draft's times are shown before there is anything live.
    rule = automation.live_rule or timing.rule_of(definition.trigger)
    return show_pane(
        request,
        automation,
        "overview",
        next_times=timing.next_times(rule, timezone.now()),
        shown_rule=rule,
        status=status,
        form=form or SettingsForm(instance=automation),
        warnings=checks.warnings(samples),
    )


@login_required
@require_safe
def overview(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    return show_overview(request, own_automation(request, project_uid, automation_uid))


@login_required
@require_POST
def change_settings(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)
    # A row of its own: a form writes what was typed into its instance, and the page shows the automation as it is.
    form = SettingsForm(request.POST, instance=own_automation(request, project_uid, automation_uid))
    if not form.is_valid():
        return show_overview(request, automation, form=form, status=422)
    if not automation.change(**form.cleaned_data):
        form.add_error("name", f"“{form.cleaned_data['name']}” is already used in this project.")
        return show_overview(request, automation, form=form, status=422)
    messages.success(request, "Settings saved.")
    return redirect(address("builder", automation))


@login_required
def activate(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    """Activate or publish the draft; warnings are shown first, and *Activate anyway* goes on."""
    automation = own_automation(request, project_uid, automation_uid)
    warnings = checks.warnings(Samples(automation, automation.definition))
    ask = partial(show_pane, request, automation, "activate", warnings=warnings)
    if request.method != "POST" or (warnings and "anyway" not in request.POST):
        return ask()
    if seen_rev(request) != automation.draft_rev:  # what goes live is what the person has looked at
        return show_overview(request, automation, status=409)
    was_active = automation.is_active
    try:
        version = automation.activate(signed_in(request))
    except NotReady as error:
        return ask(problems=error.problems, status=422)
    done = "Changes published" if was_active else "Activated"
    messages.success(request, f"{done}. Version {version.number} is live.")
    return redirect(address("builder", automation))


@login_required
@require_POST
def deactivate(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)
    automation.deactivate()
    messages.success(
        request, "Deactivated. No new executions start; accepted executions still finish, those that wait too."
    )
    return redirect(address("builder", automation))


@login_required
@require_POST
def discard(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    """Set the draft back to the live version."""
    automation = own_automation(request, project_uid, automation_uid)
    live = automation.live_version
    if live is None:
        raise Http404
    return edit_draft(request, automation, partial(_back_to_live, automation, live.definition))


def _back_to_live(automation: Automation, stored: dict[str, Any], draft: Definition) -> str:
    live = Definition.model_validate(stored)
    live.trigger.uid = draft.trigger.uid  # a trigger that was replaced meanwhile stays replaced
    draft.trigger, draft.steps = live.trigger, live.steps
    return address("builder", automation)

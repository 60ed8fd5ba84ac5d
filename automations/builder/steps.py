"""The builder's pane of one step, and the actions on steps."""

from __future__ import annotations

import json
import uuid
from functools import partial
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from automations import typed_secrets
from automations.builder import edits, picker
from automations.builder.checks import step_title
from automations.builder.forms import StepForm
from automations.builder.input_form import InputForm
from automations.builder.overview import edit_draft
from automations.builder.page import address, own_automation, seen_rev, show_pane
from automations.builder.samples import Samples
from automations.definition import ActionStep, Definition
from automations.models import Automation, StaleDraft, StepTest
from connectors.registry import CONNECTORS, find_action
from connectors.sdk.check import check_input


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def step(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID, key: str) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)
    if request.method != "POST":
        return show_step(request, automation, key)
    saved = save_step(request, automation, key)
    if isinstance(saved, HttpResponse):
        return saved
    # "Add a row" is a submit of the whole form: nothing typed gets lost, and it works without scripts.
    grown = f"?grow={request.POST['grow'][:64]}" if request.POST.get("grow", "").isidentifier() else ""
    if not grown:
        messages.success(request, "Step saved.")
    return redirect(address("step", automation, saved) + grown)


def save_step(request: HttpRequest, automation: Automation, key: str) -> str | HttpResponse:
    """Save what the step's forms hold and return the step's key, which may be a new one; else the page with the errors.

    Raise Http404 for a step that the draft does not have, and for a path, which has no form here.
    """
    definition = automation.definition
    found = _step_or_404(definition, key)
    if not isinstance(found, ActionStep):
        raise Http404
    form, input_form = StepForm(found, request.POST), _input_form(found, request.POST)
    is_valid = form.is_valid() & (input_form is None or input_form.is_valid())  # & asks both: all errors at once
    if not is_valid:
        return show_step(request, automation, key, form=form, input_form=input_form, status=422)
    form.apply(found)
    if input_form is not None:
        found.input = input_form.value
    try:
        edits.rename_key(definition, key, form.cleaned_data["key"])
        automation.save_draft(definition, rev=seen_rev(request))
    except edits.Impossible as error:
        form.add_error("key", str(error))
        return show_step(request, automation, key, form=form, input_form=input_form, status=422)
    except StaleDraft:
        return show_step(request, automation, key, form=form, input_form=input_form, status=409)
    _rename_test(automation, key, found.key)
    return found.key


def show_step(
    request: HttpRequest,
    automation: Automation,
    key: str,
    *,
    form: StepForm | None = None,
    input_form: InputForm | None = None,
    status: int = 200,
) -> HttpResponse:
    definition = automation.definition
    found = _step_or_404(definition, key)
    if not isinstance(found, ActionStep):
        return show_pane(request, automation, "path", step=found, status=status)
    samples = Samples(automation, definition)
    input_form = input_form or _input_form(found)
    if input_form and (grow := request.GET.get("grow")) in input_form.fields:
        input_form.grow(str(grow))
    test = samples.tests.get(key)  # an outdated one too: the page says that it is outdated
    return show_pane(
        request,
        automation,
        "step",
        definition=definition,
        status=status,
        step=found,
        title=step_title(found),
        connector=CONNECTORS.get(found.connector),
        action=find_action(found.connector, found.action),
        form=form or StepForm(found),
        input_form=input_form,
        typed=list(typed_secrets.typed_in(found.input)),
        sources=picker.sources(samples, key),
        test=test,
        test_is_current=samples.test_of(key) is not None,
        test_input=pretty(test.input) if test else "",
        test_output=pretty(test.output) if test else "",
    )


def pretty(text: str) -> str:
    """Return stored JSON text indented for reading."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID, position: int) -> HttpResponse:
    """Offer the actions for a new step, and add the chosen one at a position, counted from 0."""
    automation = own_automation(request, project_uid, automation_uid)
    if request.method != "POST":
        return show_pane(request, automation, "choose", position=position, connectors=CONNECTORS.values())
    return edit_draft(request, automation, partial(_add, request, automation, position))


def _add(request: HttpRequest, automation: Automation, position: int, draft: Definition) -> str:
    connector, _, action = request.POST.get("action", "").partition(".")
    return address("step", automation, edits.add_step(draft, position, connector, action).key)


@login_required
@require_POST
def move(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID, key: str) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)
    by = -1 if request.POST.get("direction") == "up" else 1

    def change(draft: Definition) -> str:
        edits.move_step(draft, key, by)
        return address("step", automation, key)

    return edit_draft(request, automation, change)


@login_required
@require_POST
def duplicate(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID, key: str) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)

    def change(draft: Definition) -> str:
        return address("step", automation, edits.duplicate_step(draft, key).key)

    return edit_draft(request, automation, change)


@login_required
@require_POST
def delete(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID, key: str) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)

    removed: list[str] = []

    def change(draft: Definition) -> str:
        removed.append(step_title(edits.remove_step(draft, key)))
        return address("builder", automation)

    answer = edit_draft(request, automation, change)
    if answer.status_code == HTTPStatus.FOUND:  # only now: a draft that somebody else has saved keeps its step
        messages.success(request, f"Step “{removed[0]}” deleted from the draft.")
    return answer


@login_required
@require_POST
def disable(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID, key: str) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)

    def change(draft: Definition) -> str:
        found = _step_or_404(draft, key)
        found.disabled = not found.disabled
        return address("step", automation, key)

    return edit_draft(request, automation, change)


def _step_or_404(definition: Definition, key: str) -> Any:
    """Return a step of the draft, inside a path too; raise Http404 when the draft has none of that key."""
    found = definition.find(key)
    if found is None:
        raise Http404
    return found


def _input_form(found: ActionStep, data: Any = None) -> InputForm | None:
    """Return the form that the step's action declares; None if no action is chosen, or the action does not exist."""
    action = find_action(found.connector, found.action)
    if action is None:
        return None
    # A step that was just added shows no errors; a form that was sent holds other values than those stored.
    problems = check_input(action, found.input) if found.input and data is None else []
    return InputForm(action.input, found.input, data, problems=problems)


def _rename_test(automation: Automation, old: str, new: str) -> None:
    """Move the step's test to its new key; drop the test that an earlier step left under that key."""
    if new != old:
        StepTest.objects.filter(automation=automation, step_key=new).delete()
        StepTest.objects.filter(automation=automation, step_key=old).update(step_key=new)

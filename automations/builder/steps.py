"""The builder's pane of one step, and what is done to steps."""

from __future__ import annotations

import json
import uuid
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from automations.builder import edits, picker
from automations.builder.checks import step_title
from automations.builder.forms import InputForm, StepForm
from automations.builder.overview import address, edited, own_automation, rev_of, show
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
    grown = f"?grow={request.POST['grow'][:64]}" if request.POST.get("grow", "").isidentifier() else ""
    if not grown:
        messages.success(request, "Step saved.")
    return redirect(address("step", automation, saved) + grown)


def save_step(request: HttpRequest, automation: Automation, key: str) -> str | HttpResponse:
    """Save what the step's form holds and return the step's key, which may be new; or the page that says why not."""
    definition = automation.definition
    found = _find(definition, key)
    if not isinstance(found, ActionStep):
        raise Http404
    form, given = StepForm(found, request.POST), _input_form(found, request.POST)
    is_valid = form.is_valid() & (given is None or given.is_valid())
    if not is_valid:
        return show_step(request, automation, key, form=form, given=given, status=422)
    form.apply(found)
    if given is not None:
        found.input = given.value
    try:
        edits.rename_key(definition, key, form.cleaned_data["key"])
        automation.save_draft(definition, rev=rev_of(request))
    except edits.Impossible as error:
        form.add_error("key", str(error))
        return show_step(request, automation, key, form=form, given=given, status=422)
    except StaleDraft:
        return show_step(request, automation, key, form=form, given=given, status=409)
    _rename_test(automation, key, found.key)
    return found.key


def show_step(
    request: HttpRequest,
    automation: Automation,
    key: str,
    *,
    form: StepForm | None = None,
    given: InputForm | None = None,
    status: int = 200,
) -> HttpResponse:
    definition = automation.definition
    found = _find(definition, key)
    if not isinstance(found, ActionStep):
        return show(request, automation, "path", step=found, status=status)
    samples = Samples(automation, definition)
    given = given or _input_form(found)
    if given and (grow := request.GET.get("grow")) in given.fields:
        given.grow(str(grow))
    test = samples.tests.get(key)
    return show(
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
        input_form=given,
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
    """Choose what a new step does; it comes to stand at a position, counted from 0."""
    automation = own_automation(request, project_uid, automation_uid)
    if request.method != "POST":
        return show(request, automation, "choose", position=position, connectors=CONNECTORS.values())
    return edited(request, automation, partial(_add, request, automation, position))


def _add(request: HttpRequest, automation: Automation, position: int, draft: Definition) -> str:
    connector, _, action = request.POST.get("action", "").partition(".")
    return address("step", automation, edits.add_step(draft, position, connector, action).key)


@login_required
@require_POST
def move(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID, key: str) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)
    by = -1 if request.POST.get("direction") == "up" else 1
    return edited(request, automation, lambda draft: _moved(automation, draft, key, by))


def _moved(automation: Automation, draft: Definition, key: str, by: int) -> str:
    edits.move_step(draft, key, by)
    return address("step", automation, key)


@login_required
@require_POST
def duplicate(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID, key: str) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)
    return edited(request, automation, lambda draft: address("step", automation, edits.duplicate_step(draft, key).key))


@login_required
@require_POST
def delete(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID, key: str) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)

    def change(draft: Definition) -> str:
        removed = edits.remove_step(draft, key)
        messages.success(request, f"Step “{step_title(removed)}” deleted from the draft.")
        return address("builder", automation)

    return edited(request, automation, change)


@login_required
@require_POST
def disable(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID, key: str) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)

    def change(draft: Definition) -> str:
        found = _find(draft, key)
        found.disabled = not found.disabled
        return address("step", automation, key)

    return edited(request, automation, change)


def _find(definition: Definition, key: str) -> Any:
    found = definition.find(key)
    if found is None:
        raise Http404
    return found


def _input_form(found: ActionStep, data: Any = None) -> InputForm | None:
    action = find_action(found.connector, found.action)
    if action is None:
        return None
    problems = check_input(action, found.input) if found.input and data is None else []
    return InputForm(action.input, found.input, data, problems=problems)


def _rename_test(automation: Automation, old: str, new: str) -> None:
    if new != old:
        StepTest.objects.filter(automation=automation, step_key=new).delete()
        StepTest.objects.filter(automation=automation, step_key=old).update(step_key=new)

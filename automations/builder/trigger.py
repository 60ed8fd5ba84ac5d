"""The builder's pane of the trigger, and the actions on it."""

from __future__ import annotations

import json
import uuid
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from automations import timing
from automations.builder import checks
from automations.builder.edits import Impossible
from automations.builder.forms import TriggerConditionsForm
from automations.builder.input_form import InputForm
from automations.builder.overview import edit_draft
from automations.builder.page import address, own_automation, seen_rev, show_pane
from automations.builder.samples import TRIGGER, Samples
from automations.builder.steps import pretty
from automations.definition import Definition
from automations.models import Automation, StaleDraft, StepTest
from connectors.registry import CONNECTORS
from connectors.sdk.call import Event
from connectors.sdk.conditions import Group
from projects import shown_once

SAMPLE_TYPES = ["application/json", "application/x-www-form-urlencoded", "text/plain"]


@login_required
@never_cache  # the page may show a secret
@require_http_methods(["GET", "HEAD", "POST"])
def trigger(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)
    if request.method != "POST":
        return show_trigger(request, automation)
    saved = save_trigger(request, automation)
    if saved is not None:
        return saved
    grown = "?grow=conditions" if request.POST.get("grow") == "conditions" else ""
    if not grown:
        messages.success(request, "Trigger saved.")
    return redirect(address("trigger", automation) + grown)


def save_trigger(request: HttpRequest, automation: Automation) -> HttpResponse | None:
    """Save what the trigger's forms hold; return the page with the errors, or None. Raise Http404 without a trigger."""
    definition = automation.definition
    event = _event(definition)
    if event is None:
        raise Http404
    part = definition.trigger
    config_form = InputForm(event.config, part.config, request.POST)
    start_form = TriggerConditionsForm({}, request.POST)
    if not (config_form.is_valid() & start_form.is_valid()):  # & asks both: all errors at once
        return show_trigger(request, automation, config_form=config_form, start_form=start_form, status=422)
    known_first_day, part.config = part.config.get("first_day"), config_form.value
    # Unlike a step's input, settings are stored only when they are right: no failed execution would show the mistake.
    if wrong := timing.problems(part, timezone.now(), known_first_day=known_first_day):
        config_form = InputForm(event.config, part.config, request.POST, problems=wrong)
        return show_trigger(request, automation, config_form=config_form, start_form=start_form, status=422)
    part.conditions = Group.model_validate(start_form.cleaned_data["conditions"])
    try:
        automation.save_draft(definition, rev=seen_rev(request))
    except StaleDraft:
        return show_trigger(request, automation, config_form=config_form, start_form=start_form, status=409)
    return None


def show_trigger(
    request: HttpRequest,
    automation: Automation,
    *,
    config_form: InputForm | None = None,
    start_form: TriggerConditionsForm | None = None,
    sample: Any = None,
    sample_error: str = "",
    status: int = 200,
) -> HttpResponse:
    definition = automation.definition
    event, current = _event(definition), automation.trigger
    if event is None or current is None or "choose" in request.GET:
        return show_pane(request, automation, "choose_trigger", connectors=CONNECTORS.values(), status=status)
    conditions = definition.trigger.conditions.model_dump(mode="json", exclude_none=True)
    start_form = start_form or TriggerConditionsForm(conditions)
    if request.GET.get("grow") == "conditions":
        start_form.grow()
    samples = Samples(automation, definition)
    test = samples.tests.get(TRIGGER)
    return show_pane(
        request,
        automation,
        "trigger",
        definition=definition,
        status=status,
        event=event,
        next_times=timing.next_times(timing.rule_of(definition.trigger), timezone.now()),
        unfinished=list(checks.of_trigger(samples)),
        config_form=config_form or InputForm(event.config, definition.trigger.config),
        start_form=start_form,
        new_secret=shown_once.take(request, current.uid),
        sample=sample or _sample_of(test, event),
        sample_error=sample_error,
        sample_types=SAMPLE_TYPES,
        test=test,
        test_is_current=samples.test_of(TRIGGER) is not None,
        test_output=pretty(test.output) if test else "",
    )


@login_required
@require_POST
def make(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    """Make the automation's first trigger; a second click changes nothing, so that URL and secret stay."""
    automation = own_automation(request, project_uid, automation_uid)
    if automation.trigger is not None and automation.definition.trigger.is_configured:
        return redirect(address("trigger", automation))
    return _make(request, automation)


@login_required
@require_POST
def replace(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    """Replace the trigger in use by one with a new URL and secret; the old URL stops working at once."""
    return _make(request, own_automation(request, project_uid, automation_uid))


def _make(request: HttpRequest, automation: Automation) -> HttpResponse:
    """Make a trigger and name it in the draft, both or neither: a refused draft must not cost the URL in use."""
    with transaction.atomic():
        answer = edit_draft(request, automation, partial(_new_trigger, request, automation))
        if answer.status_code >= 400:  # `edit_draft` answers a refusal with a page, and no exception undoes the trigger
            transaction.set_rollback(True)
    return answer


def _new_trigger(request: HttpRequest, automation: Automation, draft: Definition) -> str:
    connector, _, key = request.POST.get("event", "").partition(".")
    known = CONNECTORS.get(connector)
    if known is None or known.event(key) is None:
        raise Impossible("Choose a trigger.")
    made, secret = automation.make_trigger(connector, key)
    if not draft.trigger.starts_by(connector, key):
        # Settings and conditions of another kind of trigger mean nothing here.
        draft.trigger.config, draft.trigger.conditions = {}, Group()
    draft.trigger.uid, draft.trigger.connector, draft.trigger.event = made.uid, connector, key
    shown_once.keep(request, made.uid, secret)
    return address("trigger", automation)


@login_required
@require_POST
def rotate(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    """Give the trigger a new secret, shown on the next page only."""
    automation = own_automation(request, project_uid, automation_uid)
    current = automation.trigger
    if current is None:
        raise Http404
    shown_once.keep(request, current.uid, automation.rotate_secret())
    return redirect(address("trigger", automation))


@login_required
@require_POST
def remove_secret(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)
    automation.remove_secret()
    messages.success(request, "Secret removed. Anyone who knows the trigger URL can start this automation.")
    return redirect(address("trigger", automation))


def _sample_of(test: StepTest | None, event: Event) -> dict[str, Any]:
    """Return the sample request that the form starts with: the one tested last, or one made of the event's sample."""
    if test and test.input:
        stored: dict[str, Any] = json.loads(test.input)
        return stored
    output = json.loads(test.output) if test and test.output else event.sample
    body = output.get("body") if isinstance(output, dict) else None
    is_text = isinstance(body, str)
    return {
        "method": "POST",
        "content_type": "text/plain" if is_text else SAMPLE_TYPES[0],
        "body": body if is_text else json.dumps(body, indent=2, ensure_ascii=False),
    }


def _event(definition: Definition) -> Event | None:
    """Return the chosen event as its connector declares it; None if no event is chosen, or the event does not exist."""
    connector = CONNECTORS.get(definition.trigger.connector)
    return connector.event(definition.trigger.event) if connector else None

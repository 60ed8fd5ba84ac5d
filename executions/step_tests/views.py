"""The builder's Test buttons; the builder's own pages show the results."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from automations.builder.page import address, own_automation
from automations.builder.steps import save_step
from automations.builder.trigger import show_trigger
from automations.definition import ActionStep
from automations.models import Automation
from automations.timing import rule_of
from connectors.schedule.fire_times import next_fire_time, output
from executions.intake.body import Refused
from executions.step_tests import run


@login_required
@require_POST
def test_trigger(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)
    if automation.trigger is None:
        raise Http404
    target = f"{address('trigger', automation)}#test-result"
    if "latest" in request.POST:
        payload = run.latest_payload(automation)
        if payload is None:
            messages.info(
                request, "This automation has no executions yet. Write a sample, or send a request to the trigger URL."
            )
        else:
            run.keep_trigger(automation, payload)
        return redirect(target)
    if automation.trigger.is_timed:
        return _test_schedule(automation) or show_trigger(request, automation, status=422)
    sample = _sample(request)
    try:
        run.test_trigger(automation, sample)
    except Refused as refused:
        problem = f"The trigger URL would refuse this request with {refused.status}: {refused.message}"
        return show_trigger(request, automation, sample=sample, sample_error=problem, status=422)
    return redirect(target)


def _test_schedule(automation: Automation) -> HttpResponse | None:
    """Keep the output of the next fire time as the sample; return None when the settings name no fire time."""
    rule, now = rule_of(automation.definition.trigger), timezone.now()
    at = next_fire_time(rule, now) if rule else None
    if rule is None or at is None:
        return None
    run.keep_trigger(automation, output(rule, at, at))
    return redirect(f"{address('trigger', automation)}#test-result")


def _sample(request: HttpRequest) -> run.SampleRequest:
    given = request.POST
    return run.SampleRequest(
        method="GET" if given.get("method") == "GET" else "POST",
        content_type=given.get("content_type", "")[:200],
        query=given.get("query", "").lstrip("?"),
        headers=given.get("headers", ""),
        body=given.get("body", ""),
    )


@login_required
@require_POST
def test_step(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID, key: str) -> HttpResponse:
    """Save the step when the request holds its form, then test it."""
    automation = own_automation(request, project_uid, automation_uid)
    if not isinstance(automation.definition.find(key), ActionStep):
        raise Http404
    if "step-key" in request.POST:
        saved = save_step(request, automation, key)
        if isinstance(saved, HttpResponse):
            return saved
        key = saved
    run.test_step(automation, key)
    return redirect(f"{address('step', automation, key)}#test-result")

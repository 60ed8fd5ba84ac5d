"""One automation's builder: what all its panes share, and what is done to the automation as a whole."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render, resolve_url
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from pydantic import ValidationError

from automations import timing
from automations.builder import checks
from automations.builder.edits import Impossible
from automations.builder.forms import SettingsForm
from automations.builder.samples import Samples
from automations.definition import ActionStep, Definition
from automations.models import Automation, NotReady, StaleDraft, StepTest
from connectors.registry import CONNECTORS
from connectors.sdk.call import Connector
from connectors.sdk.conditions import Group
from connectors.sdk.mapping import as_text
from projects.htmx import wants_part
from projects.views import signed_in


def own_automation(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> Automation:
    automations = Automation.objects.for_user(request.user).select_related("project__organization", "live_version")
    return get_object_or_404(automations, pk=automation_uid, project=project_uid)


def address(name: str, automation: Automation, *more: Any) -> str:
    return resolve_url(f"automations:{name}", automation.project_id, automation.pk, *more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A step as the flow shows it."""

    step: Any
    title: str
    summary: str
    connector: Connector | None
    warnings: list[checks.Finding]
    test: StepTest | None
    is_first: bool
    is_last: bool
    position: int

    @property
    def state(self) -> str:
        if self.step.disabled:
            return "disabled"
        if any(not warning.is_untested for warning in self.warnings):
            return "failed" if self.test and not self.test.is_success else "incomplete"
        return "untested" if self.warnings else "tested"


def show(
    request: HttpRequest,
    automation: Automation,
    pane: str,
    *,
    definition: Definition | None = None,
    status: int = 200,
    **context: Any,
) -> HttpResponse:
    """Return the builder with one pane open: the whole page, or what htmx puts in its place."""
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
            "rev": request.POST.get("rev") if status == 409 else automation.draft_rev,
            "is_stale": status == 409,
            "samples": samples,
            "pane": pane,
            "pane_template": f"automations/panes/_{pane}.html",
            **context,
        },
        status=status,
    )


def cards_of(samples: Samples) -> list[Card]:
    steps = samples.definition.steps
    return [
        Card(
            step=step,
            title=checks.step_title(step),
            summary=_summary(step),
            connector=CONNECTORS.get(getattr(step, "connector", "")),
            warnings=list(checks.of_step(samples, step)),
            test=samples.test_of(step.key),
            is_first=number == 1,
            is_last=number == len(steps),
            position=number,
        )
        for number, step in enumerate(steps, 1)
    ]


def _summary(step: Any) -> str:
    """Return in a few words what a step is set to do."""
    if not isinstance(step, ActionStep):
        return "A path, made outside this builder"
    texts = [text for value in step.input.values() if (text := _in_words(value))]
    return " · ".join(texts[:2])[:120]


def _in_words(value: Any) -> str:
    match value:
        case dict() if "all" in value or "any" in value:
            try:
                return Group.model_validate(value).in_words()
            except ValidationError:
                return ""
        case dict():
            return ", ".join(value)
        case str() | int() | float() if not isinstance(value, bool):
            return as_text(value)
        case _:
            return ""


def edited(request: HttpRequest, automation: Automation, change: Callable[[Definition], str]) -> HttpResponse:
    """Change the draft that the request has seen, and go where the change says."""
    definition = automation.definition
    try:
        target = change(definition)
        automation.save_draft(definition, rev=rev_of(request))
    except KeyError:
        raise Http404 from None
    except Impossible as error:
        messages.error(request, str(error))
        return overview(request, automation, status=422)
    except StaleDraft:
        return overview(request, automation, status=409)
    return redirect(target)


def rev_of(request: HttpRequest) -> int:
    """Return the draft that the request has seen; none when it does not say."""
    text = request.POST.get("rev", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def overview(
    request: HttpRequest, automation: Automation, *, form: SettingsForm | None = None, status: int = 200
) -> HttpResponse:
    definition = automation.definition
    samples = Samples(automation, definition)
    rule = automation.live_rule or timing.rule_of(definition.trigger)
    return show(
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
def builder(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    return overview(request, own_automation(request, project_uid, automation_uid))


@login_required
@require_POST
def change_settings(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)
    form = SettingsForm(request.POST, instance=own_automation(request, project_uid, automation_uid))
    if not form.is_valid():
        return overview(request, automation, form=form, status=422)
    if not automation.change(**form.cleaned_data):
        form.add_error("name", f"“{form.cleaned_data['name']}” is already used in this project.")
        return overview(request, automation, form=form, status=422)
    messages.success(request, "Settings saved.")
    return redirect(address("builder", automation))


@login_required
def activate(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    """Activate or publish the draft; what there is to know before comes first, *Activate anyway* goes on."""
    automation = own_automation(request, project_uid, automation_uid)
    warnings = checks.warnings(Samples(automation, automation.definition))
    ask = partial(show, request, automation, "activate", warnings=warnings)
    if request.method != "POST" or (warnings and "anyway" not in request.POST):
        return ask()
    if rev_of(request) != automation.draft_rev:
        return overview(request, automation, status=409)
    was_active = automation.is_active
    try:
        version = automation.activate(signed_in(request))
    except NotReady as error:
        return ask(problems=error.problems, status=422)
    done = "Changes published" if was_active else "Activated"
    messages.success(request, f"{done}: version {version.number} is live.")
    return redirect(address("builder", automation))


@login_required
@require_POST
def deactivate(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)
    automation.deactivate()
    messages.success(request, "Deactivated: nothing new starts, what is under way ends.")
    return redirect(address("builder", automation))


@login_required
@require_POST
def discard(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)
    live = automation.live_version
    if live is None:
        raise Http404
    return edited(request, automation, partial(_back_to_live, automation, live.definition))


def _back_to_live(automation: Automation, live: dict[str, Any], draft: Definition) -> str:
    former = Definition.model_validate(live)
    former.trigger.uid = draft.trigger.uid  # a trigger replaced since does not come back
    draft.trigger, draft.steps = former.trigger, former.steps
    return address("builder", automation)


@login_required
@require_POST
def delete(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID) -> HttpResponse:
    automation = own_automation(request, project_uid, automation_uid)
    if request.POST.get("name", "").strip() != automation.name:
        messages.error(request, "Not deleted: the name typed is not this automation's.")
        return overview(request, automation, status=422)
    automation.delete()
    messages.success(request, f"“{automation.name}” deleted. Its executions stay readable.")
    return redirect("automations:list", automation.project_id)

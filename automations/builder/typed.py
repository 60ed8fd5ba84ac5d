"""The builder's offer to keep a secret that was typed into a step in a secret variable instead."""

from __future__ import annotations

import re
import uuid
from functools import partial

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from automations import typed_secrets
from automations.builder.overview import edit_draft
from automations.builder.page import address, own_automation
from automations.builder.steps import save_step
from automations.definition import ActionStep, Definition
from automations.models import Automation
from projects.models import Project, Variable

KEY_LIMIT = 64


@login_required
@require_POST
def make_variable(request: HttpRequest, project_uid: uuid.UUID, automation_uid: uuid.UUID, key: str) -> HttpResponse:
    """Save what the step's form holds; then move the secret that `typed` names into a new secret variable."""
    automation = own_automation(request, project_uid, automation_uid)
    if not isinstance(automation.definition.find(key), ActionStep):
        raise Http404
    rev = None
    if "step-key" in request.POST:
        saved = save_step(request, automation, key)
        if isinstance(saved, HttpResponse):
            return saved
        key, rev = saved, automation.draft_rev
    with transaction.atomic():
        answer = edit_draft(request, automation, partial(_move, request, automation, key), rev=rev)
        if answer.status_code >= 400:  # `edit_draft` answers with a page, and no exception undoes the variable
            transaction.set_rollback(True)
    return answer


def _move(request: HttpRequest, automation: Automation, key: str, draft: Definition) -> str:
    step = draft.find(key)
    assert isinstance(step, ActionStep)
    wanted = request.POST.get("typed", "")
    secret = next((one for one in typed_secrets.typed_in(step.input) if one.id == wanted), None)
    if secret is None:  # it was changed in the form
        messages.info(request, "Step saved. It does not hold this secret any more.")
        return address("step", automation, key)
    variable = Variable(project=automation.project, key=_free_key(automation.project, f"{key}_{secret.name}"))
    variable.is_secret, variable.value = True, secret.value
    variable.save()
    step.input = typed_secrets.replaced(step.input, secret, variable.key)
    live = " Publish the change: the live version still holds the secret." if automation.live_version else ""
    messages.success(request, f"Step saved. {secret.name} reads the new secret variable “{variable.key}”.{live}")
    return address("step", automation, key)


def _free_key(project: Project, wanted: str) -> str:
    """Return a key for a new variable that no other variable of the project has."""
    base = re.sub(r"[^A-Za-z0-9]+", "_", wanted).strip("_").upper()
    base = (base if base[:1].isalpha() else f"KEY_{base}")[: KEY_LIMIT - 4]
    taken = set(project.variables.values_list("key", flat=True))
    numbered = (base, *(f"{base}_{number}" for number in range(2, len(taken) + 2)))
    return next(key for key in numbered if key not in taken)

"""The measured automations, made through the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from automations.definition import Definition
from automations.models import Automation
from projects.models import Organization, Project

FIELDS = {
    "customer": "{{ trigger.body.customer.name | upcase }}",
    "total": "{{ trigger.body.total | times: 1.2 }}",
    "id": "{{ trigger.body.id }}",
}
TRANSFORM = {"key": "transform", "connector": "transform", "action": "fields", "input": {"fields": FIELDS}}
RESPOND = {"key": "respond", "connector": "response", "action": "send", "input": {"body": "{{ transform }}"}}
CALL_API = {
    "key": "call_api", "connector": "http", "action": "request",
    "input": {"method": "GET", "url": "{{ trigger.body.url }}", "fail_on_error_status": True},
}  # fmt: skip
STEPS: dict[str, list[dict[str, Any]]] = {
    "transform": [TRANSFORM],
    "respond": [TRANSFORM, RESPOND],
    "call-api": [CALL_API],
}


@dataclass(frozen=True, slots=True)
class Target:
    """A trigger URL to post to."""

    url: str
    secret: str


def seed() -> dict[str, Target]:
    """Make one organization without limits, and the automations of `STEPS`, active."""
    organization = Organization.objects.create(name="Bench", direct_limit=None)
    project = Project.objects.create(organization=organization, name="Bench")
    made = {name: activate(project, name, steps) for name, steps in STEPS.items()}
    return {
        name: Target(automation.trigger.url, secret)
        for name, (automation, secret) in made.items()
        if automation.trigger
    }


def activate(project: Project, name: str, steps: list[dict[str, Any]]) -> tuple[Automation, str]:
    """Return a new active automation and its trigger's secret."""
    automation = Automation.objects.create(organization=project.organization, project=project, name=name)
    trigger, secret = automation.make_trigger("http", "request")
    part = {"uid": trigger.uid, "connector": "http", "event": "request"}
    definition = Definition.model_validate({"trigger": part, "steps": steps})
    automation.save_draft(definition, rev=automation.draft_rev)
    automation.activate(None)
    return automation, secret

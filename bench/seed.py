"""The measured automations, made through the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from automations.models import Automation
from harness.factory import make_automation
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
    made = make_targets("Bench", STEPS)
    return {name.removeprefix("Bench "): target for name, target in made.items()}


def make_targets(organization_name: str, automations: dict[str, list[dict[str, Any]]]) -> dict[str, Target]:
    """Make an organization without limits, and active automations; the names begin with the organization's."""
    organization = Organization.objects.create(name=organization_name, direct_limit=None)
    project = Project.objects.create(organization=organization, name=organization_name)
    return {
        f"{organization_name} {name}": _target(make_automation(project, name, steps))
        for name, steps in automations.items()
    }


def _target(automation: Automation) -> Target:
    trigger = automation.trigger
    assert trigger is not None
    return Target(trigger.url, automation.rotate_secret())

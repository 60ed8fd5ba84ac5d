"""The measured automations, made through the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from automations.models import Automation
from harness.factory import make_automation
from projects.models import Membership, Organization, Project

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


def visitors(count: int) -> list[str]:
    """Return the session cookies of members of the organization; a second call returns new ones."""
    organization = Organization.objects.get(name="Bench")
    cookies = []
    for number in range(count):
        user, _ = User.objects.get_or_create(username=f"visitor-{number}")
        Membership.objects.get_or_create(organization=organization, user=user, role=Membership.Role.OWNER)
        client = Client(SERVER_NAME="127.0.0.1")
        client.force_login(user)
        cookies.append(f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}")
    return cookies


def log_path() -> str:
    return f"/projects/{Project.objects.get(name='Bench').pk}/executions/"

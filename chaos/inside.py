"""The variable, schedule and users of a trial, made inside the installation by `Installation.call`."""

from __future__ import annotations

from automations.models import Automation
from harness.factory import make_automation, make_owner
from projects.models import ApiToken, Project, Variable

TIMED = "Timed"
EVERY_MINUTE = {"connector": "schedule", "event": "fires", "config": {"unit": "minutes", "interval": 1}}
SHAPE = {"key": "shape", "connector": "transform", "action": "fields", "input": {"fields": {"a": 1}}}


def furnish(project_id: str, canary: str, users: int) -> list[str]:
    """Make a secret variable, an automation that fires every minute, and users; return a token of each user."""
    project = Project.objects.get(pk=project_id)
    variable = Variable(project=project, key="CANARY", is_secret=True)
    variable.value = canary
    variable.save()
    make_automation(project, TIMED, [SHAPE], trigger=EVERY_MINUTE)
    owners = [make_owner(project.organization, f"chaos{number}") for number in range(users)]
    return [ApiToken.objects.make(owner, "Chaos")[1] for owner in owners]


def stop_schedule() -> None:
    Automation.objects.get(name=TIMED).deactivate()

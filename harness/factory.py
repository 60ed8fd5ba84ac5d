"""Automations and their owners, made through the models: by a test itself, or inside an installation.

`Installation.call("harness.factory.make_organization", ...)` runs it inside; `harness.automations` wraps that.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.models import User

from automations.definition import Definition
from automations.models import Automation
from projects.models import ApiToken, Membership, Organization, Project, Variable

type Steps = list[dict[str, Any]]


def make_automation(
    project: Project,
    name: str,
    steps: Steps,
    *,
    trigger: dict[str, Any] | None = None,
    is_open: bool = False,
    is_active: bool = True,
    **fields: Any,
) -> Automation:
    """Make an automation with a trigger of its own, whose URL asks for a secret unless it `is_open`.

    `trigger` holds the differences from a plain trigger URL, as `Automation.design` takes it; `fields` are columns.
    """
    organization = project.organization_id
    automation = Automation.objects.create(project=project, organization_id=organization, name=name, **fields)
    automation.design(steps, **(trigger or {}))
    if is_open:
        automation.remove_secret()
    if is_active:
        automation.activate(None)
    return automation


def publish(automation: Automation, *, steps: Steps | None = None, **trigger: Any) -> None:
    """Make an automation live with other steps, or with another `config` or other `conditions` of its trigger."""
    draft = automation.draft
    changed = {"trigger": draft["trigger"] | trigger, "steps": draft["steps"] if steps is None else steps}
    automation.save_draft(Definition.model_validate(draft | changed), rev=automation.draft_rev)
    automation.activate(None)


def make_organization(
    name: str,
    automations: dict[str, Steps],
    *,
    owner: str = "",
    trigger: dict[str, Any] | None = None,
    fields: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Make an organization with a project of the same name and active automations that ask for no secret.

    `owner` is a new user's name and password, `fields` are columns of the organization. Return the ids as text:
    `organization`, `project`, and by name `automations` and `triggers`.
    """
    organization = Organization.objects.create(name=name, **(fields or {}))
    project = Project.objects.create(organization=organization, name=name)
    if owner:
        make_owner(organization, owner)
    made = [make_automation(project, key, steps, trigger=trigger, is_open=True) for key, steps in automations.items()]
    return {
        "organization": str(organization.pk),
        "project": str(project.pk),
        "automations": {one.name: str(one.pk) for one in made},
        "triggers": {one.name: one.trigger.uid for one in made if one.trigger},
    }


def make_owner(organization: Organization, name: str) -> User:
    """Make a user, with the name as password, who owns the organization."""
    user = User.objects.create_user(name, password=name)
    Membership.objects.create(organization=organization, user=user, role=Membership.Role.OWNER)
    return user


# --- for callers outside, who know an automation by its id


def publish_steps(automation_id: str, steps: Steps) -> None:
    publish(Automation.objects.get(pk=automation_id), steps=steps)


def replace_trigger(automation_id: str) -> None:
    Automation.objects.get(pk=automation_id).make_trigger("http", "request")


def deactivate(automation_id: str) -> None:
    Automation.objects.get(pk=automation_id).deactivate()


def make_variable(project: str, key: str, value: str, *, is_secret: bool = False) -> None:
    """Give a project a variable."""
    variable = Variable(project_id=uuid.UUID(project), key=key, is_secret=is_secret)
    variable.value = value
    variable.save()


def make_token(name: str) -> str:
    """Make an API token of a user and return it."""
    return ApiToken.objects.make(User.objects.get(username=name), "Tested")[1]

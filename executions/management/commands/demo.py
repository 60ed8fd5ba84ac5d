"""`manage.py demo`: an organization with automations and a history, to look at and to test with."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from automations.models import Automation
from executions.demo import history
from executions.demo.definitions import DEFINITIONS
from executions.models import Execution
from executions.step_tests import run
from projects.models import ApiToken, Membership, Organization, Project
from projects.sealing import digest

NAME = "Demo"
PROJECT = "Web shop"
SAMPLE = {
    "id": "A-17",
    "customer": {"name": "Ada Lovelace"},
    "total": 100,
    "to": "ada@example.com",
    "url": "https://example.com/",
    "slack_url": "https://hooks.slack.com/services/T0/B0/demo",
    "module": "entry",
    "event": "create",
    "data": {"entry": {"uid": "blt1", "title": "Autumn sale"}, "content_type": {"uid": "page", "title": "Page"}},
}


class Command(BaseCommand):
    help = "Create the demo (organization, project, users, token, automations, past executions) unless it exists."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print addresses, logins and secrets for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            demo = make(Logins(settings.DATA_DIR / "demo.json"))
        self.stdout.write(json.dumps(demo, indent=2) if options["json"] else in_words(demo))


class Logins:
    """The demo's passwords and token, in a file that only its owner can read: the database holds their hashes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}

    def new(self, name: str, value: str) -> str:
        """Store a value under a name and return it."""
        self.values[name] = value
        new = self.path.with_suffix(".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(self.values, file)
        new.replace(self.path)  # atomic: a crash leaves the old file or the new one
        return value


def make(logins: Logins) -> dict[str, Any]:
    """Make whatever the demo lacks; return its addresses, logins, token and secrets, as JSON for scripts."""
    unlimited = {"direct_limit": None, "throttle_rate": 10}
    organization, _ = Organization.objects.get_or_create(name=NAME, defaults=unlimited)
    project, _ = Project.objects.get_or_create(name=PROJECT, organization=organization, deleted_at=None)
    builder = user("builder", logins)
    Membership.objects.get_or_create(organization=organization, user=builder, defaults={"role": "owner"})
    staff = user("staff", logins, is_staff=True, is_superuser=True)
    automations = {slug: automation(project, slug, builder) for slug in DEFINITIONS}
    if not Execution.objects.filter(project=project).exists():
        history.write(automations)
    return {
        "base_url": settings.BASE_URL,
        "organization_uid": str(organization.uid),
        "project_uid": str(project.uid),
        "token": token(builder, logins),
        "users": {
            name: {"username": who.username, "password": logins.values[name]}
            for name, who in (("builder", builder), ("staff", staff))
        },
        "automations": {slug: about(automation) for slug, automation in automations.items()},
    }


def user(name: str, logins: Logins, **fields: bool) -> User:
    """Return a demo user, made if missing, with a new password unless the file holds the present one."""
    found, _ = User.objects.get_or_create(username=name, defaults=fields)
    if not found.check_password(logins.values.get(name, "")):
        found.set_password(logins.new(name, secrets.token_urlsafe(9)))
        found.save()
    return found


def token(builder: User, logins: Logins) -> str:
    """Return the API token in the file, or a new one if it is not usable."""
    known = logins.values.get("token", "")
    if ApiToken.objects.usable().filter(digest=digest(known)).exists():
        return known
    return logins.new("token", ApiToken.objects.make(builder, NAME)[1])


def automation(project: Project, slug: str, builder: User) -> Automation:
    """Return the automation of this name; make, activate and test it first if it is missing."""
    description, steps = DEFINITIONS[slug]
    found, is_new = Automation.objects.get_or_create(
        project=project,
        name=slug,
        deleted_at=None,
        defaults={"organization_id": project.organization_id, "description": description, "created_by": builder},
    )
    if is_new:
        found.design(steps)
        found.activate(builder)
        sample = run.SampleRequest(method="POST", content_type="application/json", body=json.dumps(SAMPLE))
        run.test_trigger(found, sample)
    return found


def about(automation: Automation) -> dict[str, str]:
    trigger = automation.trigger
    assert trigger is not None
    secret = trigger.secret
    return {"uid": str(automation.uid), "trigger_url": trigger.url, "secret": secret}


def in_words(demo: dict[str, Any]) -> str:
    transform = demo["automations"]["transform"]
    logins = "\n".join(f"  {login['username']:<8} {login['password']}" for login in demo["users"].values())
    body = json.dumps({"id": "A-17", "customer": {"name": "Ada Lovelace"}, "total": 100})
    return (
        f"AgentOS: {demo['base_url']}\n{logins}\n\ncurl -H 'Content-Type: application/json' "
        f"-H 'ah-http-key: {transform['secret']}' -d '{body}' {transform['trigger_url']}"
    )

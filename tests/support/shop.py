from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.support.installation import Installation

# One project, and one automation for each way to go; every test has executions of its own.
SET_UP = """
import json
from django.contrib.auth.models import User
from automations.definition import Definition
from automations.models import Automation
from projects.models import *
organization = Organization.objects.create(name="Acme")
user = User.objects.create_user("log-reader", password="log-reader")
Membership.objects.create(organization=organization, user=user, role=Membership.Role.OWNER)
project = Project.objects.create(organization=organization, name="Shop")
triggers = {{}}
for name, steps in json.loads({automations!r}).items():
    automation = Automation.objects.create(project=project, organization=organization, name=name)
    trigger, _ = automation.make_trigger("http", "request")
    automation.remove_secret()
    head = {{"uid": trigger.uid, "connector": "http", "event": "request"}}
    draft = Definition.model_validate({{"trigger": head, "steps": steps}})
    automation.save_draft(draft, rev=automation.draft_rev)
    automation.activate(None)
    triggers[name] = trigger.uid
print(json.dumps([str(project.pk), triggers]))
"""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """The project of these tests, in the installation that all browser tests share, and a person in it."""

    product: Installation
    page: Page
    project: str
    triggers: dict[str, str]

    @property
    def log(self) -> str:
        return f"/projects/{self.project}/executions/"

    def post(self, automation: str, body: Any) -> str:
        """Post to an automation's trigger URL and return the execution's id, whatever the answer."""
        request = urllib.request.Request(
            f"{self.product.url}/automations-api/run/{self.triggers[automation]}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                return str(json.load(answer)["execution_id"])
        except urllib.error.HTTPError as error:
            return str(json.load(error)["execution_id"])

    def row(self, execution: str) -> Locator:
        return self.page.locator(f"#execution-{execution}")

    def expect_status(self, execution: str, status: str) -> None:
        expect(self.row(execution).locator(".badge")).to_have_attribute("data-status", status, timeout=15_000)


def call(url: str) -> dict[str, Any]:
    return {
        "key": "call", "title": "Call", "connector": "http", "action": "request",
        "input": {"method": "POST", "url": url, "fail_on_error_status": True},
    }  # fmt: skip


BROKEN = {"key": "call", "title": "Call", "connector": "http", "action": "request", "input": {}}
SHAPE = {
    "key": "shape", "title": "Shape", "connector": "transform", "action": "template",
    "input": {"template": "{{ trigger.body.name | upcase }}"},
}  # fmt: skip
ANSWER = {"key": "answer", "title": "Answer", "connector": "response", "action": "send", "input": {}}

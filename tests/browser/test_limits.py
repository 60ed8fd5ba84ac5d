"""The Throttle switch, why an execution is Pending, and the sum of the requests, as a person sees them."""

from __future__ import annotations

import json
import re
import urllib.request
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from tests.support.installation import Installation

SET_UP = """
import json
from django.contrib.auth.models import User
from automations.definition import Definition
from automations.models import Automation
from projects.models import *
organization = Organization.objects.create(name="Slow and steady", throttle_rate=0.1)
user = User.objects.create_user("slow", password="slow")
Membership.objects.create(organization=organization, user=user, role=Membership.Role.OWNER)
project = Project.objects.create(organization=organization, name="Slow")
automation = Automation.objects.create(project=project, organization=organization, name="Names")
trigger, _ = automation.make_trigger("http", "request")
automation.remove_secret()
step = {"key": "shape", "connector": "transform", "action": "template", "input": {"template": "done"}}
head = {"uid": trigger.uid, "connector": "http", "event": "request"}
automation.save_draft(Definition.model_validate({"trigger": head, "steps": [step]}), rev=automation.draft_rev)
automation.activate(None)
print(json.dumps([str(organization.pk), str(project.pk), str(automation.pk), trigger.uid]))
"""


@dataclass(frozen=True, slots=True)
class Slow:
    product: Installation
    organization: str
    project: str
    automation: str
    trigger: str

    @property
    def builder(self) -> str:
        return f"/projects/{self.project}/automations/{self.automation}/"

    def post(self) -> str:
        url = f"{self.product.url}/automations-api/run/{self.trigger}"
        request = urllib.request.Request(url, b"{}", {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=40) as answer:
            return str(json.load(answer)["execution_id"])


@pytest.fixture
def slow(product: Installation, page: Page) -> Slow:
    page.goto("/login/")
    found = json.loads(product.python(SET_UP).splitlines()[-1])
    page.get_by_label("Username").fill("slow")
    page.get_by_label("Password").fill("slow")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/projects/**")
    return Slow(product, *found)


def test_throttled_executions_say_why_they_wait_until_the_rate_is_raised(slow: Slow, page: Page) -> None:
    page.goto(slow.builder)
    page.get_by_role("switch", name="Throttle").check()
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("Settings saved.")).to_be_visible()
    expect(page.get_by_role("switch", name="Throttle")).to_be_checked()

    executions = [slow.post() for _ in range(4)]
    page.goto(f"/projects/{slow.project}/executions/")
    first, last = (page.locator(f"#execution-{executions[number]}") for number in (0, 3))
    expect(first.locator(".badge")).to_have_attribute("data-status", "success", timeout=15_000)
    expect(last).to_contain_text(re.compile(r"Throttled, place [23], starts about"))
    last.get_by_role("link", name="Names").click()
    dialog = page.locator("#dialog")
    expect(dialog).to_contain_text(
        "Throttled: all throttled automations of Slow and steady share 0.1 starts per second."
    )
    expect(dialog).to_contain_text(re.compile(r"Place in line\s*[23]"))

    settings = page.context.new_page()
    settings.goto(slow.builder)
    settings.get_by_role("link", name="set in its settings").click()
    settings.get_by_label("Throttle frequency").fill("10")
    settings.get_by_role("button", name="Save settings").click()
    expect(settings.get_by_text("Applies from now on")).to_be_visible()
    settings.close()

    expect(dialog).to_contain_text("Executed successfully", timeout=15_000)
    expect(last.locator(".badge")).to_have_attribute("data-status", "success")
    expect(last).not_to_contain_text("Throttled")

    page.goto(slow.builder)
    page.get_by_role("link", name="Requests and their outcomes").click()
    balance = page.locator("#request-balance")
    expect(balance).to_have_text(re.compile(r"^\s*4\s*received\s*=\s*4\s*executed\s*\+\s*0\s*conditions not met"))
    slow.post()
    expect(balance).to_have_text(re.compile(r"^\s*5\s*received\s*=\s*5\s*executed"), timeout=15_000)
    page.get_by_role("link", name="1 new request").click()
    expect(page.locator("tr[id^=request-]")).to_have_count(5)

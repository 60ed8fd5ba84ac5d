"""The Throttle switch, why an execution is Pending, and the sum of the requests, as a person sees them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from harness.automations import Made, make
from harness.browser import sign_in
from harness.installation import Installation

STEP = {"key": "shape", "connector": "transform", "action": "template", "input": {"template": "done"}}


@dataclass(frozen=True, slots=True)
class Slow:
    product: Installation
    made: Made

    @property
    def builder(self) -> str:
        return f"/projects/{self.made.project}/automations/{self.made.automations['Names']}/"

    def post(self) -> str:
        return str(self.made.start("Names", {}))


@pytest.fixture
def slow(product: Installation, page: Page) -> Slow:
    made = make(product, {"Names": [STEP]}, name="Slow and steady", owner="slow", throttle_rate=0.1)
    sign_in(page, "slow", "slow")
    return Slow(product, made)


def test_throttled_executions_say_why_they_wait_until_the_rate_is_raised(slow: Slow, page: Page) -> None:
    page.goto(slow.builder)
    page.get_by_role("switch", name="Throttle").check()
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("Settings saved.")).to_be_visible()
    expect(page.get_by_role("switch", name="Throttle")).to_be_checked()

    executions = [slow.post() for _ in range(4)]
    page.goto(f"/projects/{slow.made.project}/executions/")
    first, last = (page.locator(f"#execution-{executions[number]}") for number in (0, 3))
    expect(first.locator(".badge")).to_have_attribute("data-status", "success", timeout=15_000)
    expect(last).to_contain_text(re.compile(r"Throttled,\s+place\s+[23],\s+starts\s+about"))
    last.get_by_role("link", name="Names").click()
    dialog = page.locator("#dialog")
    expect(dialog).to_contain_text(
        "Throttled: all throttled automations of Slow and steady share 0.1 starts per second."
    )
    expect(dialog).to_contain_text(re.compile(r"Place in line\s*[23]"))

    settings = page.context.new_page()
    settings.goto(slow.builder)
    settings.get_by_role("link", name="set by the organization").click()
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

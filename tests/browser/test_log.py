from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from pytest_playwright_axe import Axe

from tests.support.installation import Installation
from tests.support.stub import Stub

SET_UP = """
import json, uuid
from django.contrib.auth.models import User
from projects.models import *
name = "log-" + uuid.uuid4().hex[:8]
organization = Organization.objects.create(name="Acme")
user = User.objects.create_user(name, password=name)
Membership.objects.create(organization=organization, user=user, role=Membership.Role.OWNER)
print(json.dumps([name, str(Project.objects.create(organization=organization, name="Shop").pk)]))
"""
MAKE = """
import json
from automations.definition import Definition
from automations.models import Automation
from projects.models import Project
project = Project.objects.get(pk="{project}")
automation = Automation.objects.create(project=project, organization=project.organization, name="{name}")
trigger, _ = automation.make_trigger("http", "request")
automation.remove_secret()
definition = {{"trigger": {{"uid": trigger.uid, "connector": "http", "event": "request"}}, "steps": json.loads({steps!r})}}
automation.save_draft(Definition.model_validate(definition), rev=automation.draft_rev)
automation.activate(None)
print(json.dumps([str(automation.pk), trigger.uid]))
"""
CHANGE = """
import json
from automations.definition import Definition
from automations.models import Automation
automation = Automation.objects.get(pk="{uid}")
automation.deactivate()
draft = Definition.model_validate(automation.draft | {{"steps": json.loads({steps!r})}})
automation.save_draft(draft, rev=automation.draft_rev)
automation.activate(None)
"""
REPLACE = """
from automations.models import Automation
Automation.objects.get(pk="{uid}").make_trigger("http", "request")
"""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A project of the test's own, in the installation that all browser tests share."""

    product: Installation
    page: Page
    project: str

    @property
    def log(self) -> str:
        return f"/projects/{self.project}/executions/"

    def automation(self, name: str, steps: list[dict[str, Any]]) -> tuple[str, str]:
        code = MAKE.format(project=self.project, name=name, steps=json.dumps(steps))
        uid, trigger = json.loads(self.product.shell(code))
        return uid, trigger

    def post(self, trigger: str, body: Any) -> str:
        """Post to the trigger URL and return the execution's id, whatever the answer."""
        request = urllib.request.Request(
            f"{self.product.url}/automations-api/run/{trigger}",
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


def call(url: str, key: str = "call", title: str = "Call") -> dict[str, Any]:
    return {
        "key": key, "title": title, "connector": "http", "action": "request",
        "input": {"method": "POST", "url": url, "fail_on_error_status": True},
    }  # fmt: skip


BROKEN = {"key": "call", "title": "Call", "connector": "http", "action": "request", "input": {}}
SHAPE = {
    "key": "shape", "title": "Shape", "connector": "transform", "action": "template",
    "input": {"template": "{{ trigger.body.name | upcase }}"},
}  # fmt: skip


@pytest.fixture
def shop(page: Page, product: Installation) -> Shop:
    name, project = json.loads(product.shell(SET_UP))
    page.goto("/login/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(name)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/projects/**")
    return Shop(product=product, page=page, project=project)


def assert_accessible(page: Page) -> None:
    found = Axe().run(page, html_report_generated=False, json_report_generated=False)
    assert [(problem["id"], [node["target"] for node in problem["nodes"]]) for problem in found["violations"]] == []


def retry(page: Page) -> None:
    dialog = page.locator("#dialog")
    dialog.get_by_role("button", name="Retry Execution").click()
    page.locator("#confirm").get_by_role("button", name="Retry").click()


def test_a_retry_succeeds_when_the_service_is_well_again(shop: Shop, stub: Stub) -> None:
    stub.answer(503, {"error": "maintenance"})
    _, trigger = shop.automation("Orders", [call(f"{stub.url}/orders")])
    execution = shop.post(trigger, {"id": 7})
    shop.page.goto(shop.log)
    shop.expect_status(execution, "failed")
    shop.row(execution).get_by_role("button", name="Info").click()
    dialog = shop.page.locator("#dialog")
    expect(dialog.get_by_text("2 of 2 left")).to_be_visible()
    expect(dialog.locator("#step-call")).to_contain_text("maintenance")

    stub.answer(200, {"ok": True})
    retry(shop.page)

    expect(dialog.get_by_text("Executed successfully, attempt 2")).to_be_visible(timeout=15_000)
    shop.expect_status(execution, "success")
    expect(dialog.get_by_role("button", name="Retry Execution")).to_have_count(0)
    dialog.get_by_role("link", name="Attempt 1").click()
    expect(dialog.locator("#step-call")).to_contain_text("maintenance")


def test_a_retry_takes_the_repaired_step(shop: Shop, stub: Stub) -> None:
    uid, trigger = shop.automation("Orders", [BROKEN])
    execution = shop.post(trigger, {"id": 7})
    shop.page.goto(shop.log)
    shop.expect_status(execution, "failed")

    shop.product.shell(CHANGE.format(uid=uid, steps=json.dumps([call(f"{stub.url}/orders")])))
    shop.row(execution).get_by_role("button", name="Info").click()
    retry(shop.page)

    shop.expect_status(execution, "success")
    assert [request.path for request in stub.requests] == ["/orders"]


def test_a_retry_is_refused_in_words_when_the_trigger_was_replaced(shop: Shop) -> None:
    uid, trigger = shop.automation("Orders", [BROKEN])
    execution = shop.post(trigger, {"id": 7})
    shop.product.shell(REPLACE.format(uid=uid))
    shop.page.goto(shop.log)
    shop.expect_status(execution, "failed")

    shop.row(execution).get_by_role("button", name="Info").click()

    dialog = shop.page.locator("#dialog")
    expect(dialog).to_contain_text("This execution holds the payload of the trigger configured before")
    expect(dialog.get_by_role("button", name="Retry Execution")).to_have_count(0)


def test_a_first_success_says_so_and_has_no_retry(shop: Shop) -> None:
    _, trigger = shop.automation("Names", [SHAPE])
    execution = shop.post(trigger, {"name": "ada"})
    shop.page.goto(shop.log)
    shop.expect_status(execution, "success")

    shop.page.get_by_role("link", name="Names").click()

    dialog = shop.page.locator("#dialog")
    expect(dialog.get_by_text("Executed successfully, attempt 1")).to_be_visible()
    expect(dialog.get_by_role("button", name="Retry Execution")).to_have_count(0)
    expect(shop.row(execution).get_by_role("button", name="Info")).to_have_count(0)


def test_info_goes_away_when_both_retries_are_used_up(shop: Shop) -> None:
    _, trigger = shop.automation("Orders", [BROKEN])
    execution = shop.post(trigger, {"note": "it's <here>"})
    shop.page.goto(shop.log)
    row, dialog = shop.row(execution), shop.page.locator("#dialog")
    for left in ("2 of 2 left", "1 of 2 left"):
        shop.expect_status(execution, "failed")
        if not dialog.is_visible():
            row.get_by_role("button", name="Info").click()
        expect(dialog.get_by_text(left)).to_be_visible(timeout=15_000)
        retry(shop.page)

    expect(dialog).to_contain_text("Both retries of this execution are used up", timeout=15_000)
    dialog.get_by_role("button", name="Copy trigger payload as cURL").click()
    copied = shop.page.evaluate("navigator.clipboard.readText()")
    assert f"/automations-api/run/{trigger}" in copied
    assert """--data-raw '{"note":"it'"'"'s <here>"}'""" in copied
    dialog.get_by_role("button", name="Close").click()
    expect(row).to_contain_text("3 of 3")
    expect(row.get_by_role("button", name="Info")).to_have_count(0)
    row.get_by_role("link", name="Orders").click()
    dialog.locator("#step-trigger").get_by_role("button", name="Code").click()
    expect(dialog.locator("#step-trigger")).to_contain_text("it's <here>")


def test_an_automation_that_answers_cannot_be_retried(shop: Shop) -> None:
    answer = {"key": "answer", "title": "Answer", "connector": "response", "action": "send", "input": {}}
    _, trigger = shop.automation("Prices", [BROKEN, answer])
    execution = shop.post(trigger, {"sku": 1})
    shop.page.goto(shop.log)
    shop.expect_status(execution, "failed")

    shop.row(execution).get_by_role("button", name="Info").click()

    dialog = shop.page.locator("#dialog")
    expect(dialog).to_contain_text("An automation with a Response step cannot be retried")
    expect(dialog.get_by_role("button", name="Retry Execution")).to_have_count(0)


def test_payloads_open_with_code_and_are_copied(shop: Shop) -> None:
    _, trigger = shop.automation("Names", [SHAPE])
    execution = shop.post(trigger, {"name": "ada", "tags": ["<b>", "ä"]})
    shop.page.goto(f"{shop.log}{execution}/")
    step, first = shop.page.locator("#step-shape"), shop.page.locator("#step-trigger")
    expect(step.get_by_role("button", name="Code")).to_be_visible(timeout=15_000)

    first.get_by_role("button", name="Code").click()
    first.get_by_role("button", name="Copy").click()

    expect(first.get_by_text("Copied")).to_be_visible()
    copied = json.loads(shop.page.evaluate("navigator.clipboard.readText()"))
    assert copied["body"] == {"name": "ada", "tags": ["<b>", "ä"]}
    expect(first.get_by_role("link", name="Output")).to_have_count(0)
    step.get_by_role("button", name="Code").click()
    step.get_by_role("link", name="Output").click()
    expect(step.locator("pre")).to_contain_text("ADA")
    step.get_by_role("button", name="Code").click()
    expect(step.locator("pre")).to_be_hidden()


def test_the_log_lives_without_moving_rows(shop: Shop, stub: Stub) -> None:
    _, trigger = shop.automation("Names", [SHAPE])
    first = shop.post(trigger, {"name": "ada"})
    shop.page.goto(shop.log)
    expect(shop.row(first)).to_be_visible()

    second = shop.post(trigger, {"name": "bob"})

    button = shop.page.get_by_role("link", name="1 new execution")
    expect(button).to_be_visible(timeout=15_000)
    expect(shop.row(second)).to_have_count(0)
    button.click()
    expect(shop.row(second)).to_be_visible()


def test_pause_stops_the_updates(shop: Shop) -> None:
    _, trigger = shop.automation("Names", [SHAPE])
    shop.post(trigger, {"name": "ada"})
    shop.page.goto(shop.log)
    shop.page.get_by_role("button", name="Live").click()
    expect(shop.page.get_by_role("button", name="Paused")).to_be_visible()
    asked: list[str] = []
    shop.page.on("request", lambda request: asked.append(request.url) if "/delta/" in request.url else None)

    shop.post(trigger, {"name": "bob"})
    shop.page.wait_for_timeout(4500)  # two rounds of the timer: nothing may come

    assert asked == []
    shop.page.get_by_role("button", name="Paused").click()
    expect(shop.page.get_by_role("link", name="1 new execution")).to_be_visible(timeout=15_000)


def test_filters_live_in_the_address(shop: Shop) -> None:
    _, good = shop.automation("Names", [SHAPE])
    _, bad = shop.automation("Orders", [BROKEN])
    success, failed = shop.post(good, {"name": "ada"}), shop.post(bad, {})
    shop.page.goto(shop.log)
    shop.expect_status(success, "success")
    shop.expect_status(failed, "failed")

    shop.page.get_by_role("checkbox", name="Failed").check(force=True)
    expect(shop.page).to_have_url(re.compile(r"\?status=failed$"))
    expect(shop.row(success)).to_have_count(0)
    expect(shop.row(failed)).to_be_visible()
    shop.page.get_by_label("Automation").select_option("Names")
    expect(shop.page.get_by_text("No execution matches")).to_be_visible()
    shop.page.go_back()
    expect(shop.row(failed)).to_be_visible()
    shop.page.get_by_role("link", name="Clear filters").click()
    expect(shop.row(success)).to_be_visible()


def test_the_dialog_has_an_address_of_its_own(shop: Shop) -> None:
    _, trigger = shop.automation("Names", [SHAPE])
    execution = shop.post(trigger, {"name": "ada"})
    shop.page.goto(shop.log)
    shop.page.get_by_role("link", name="Names").click()
    expect(shop.page.locator("#dialog")).to_be_visible()
    expect(shop.page).to_have_url(re.compile(rf"/executions/{execution}/$"))

    shop.page.keyboard.press("Escape")

    expect(shop.page.locator("#dialog")).to_be_hidden()
    expect(shop.page).to_have_url(re.compile(r"/executions/$"))
    expect(shop.row(execution)).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_accessible(shop: Shop, scheme: Any) -> None:
    _, trigger = shop.automation("Orders", [BROKEN])
    execution = shop.post(trigger, {"name": "ada"})
    shop.page.emulate_media(color_scheme=scheme)
    shop.page.goto(shop.log)
    shop.expect_status(execution, "failed")

    for path in (shop.log, f"{shop.log}{execution}/", f"/projects/{shop.project}/usage/", "/help/executions/"):
        shop.page.goto(path)
        assert_accessible(shop.page)
    shop.page.goto(shop.log)
    shop.row(execution).get_by_role("button", name="Info").click()
    expect(shop.page.locator("#dialog pre, #dialog .payload").first).to_be_visible()
    assert_accessible(shop.page)

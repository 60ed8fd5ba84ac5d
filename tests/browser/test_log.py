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

OPTIONS = {"resultTypes": ["violations"]}
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
REPAIR = """
import json
from automations.definition import Definition
from automations.models import Automation
automation = Automation.objects.get(project="{project}", name="To be repaired")
automation.deactivate()
draft = Definition.model_validate(automation.draft | {{"steps": json.loads({steps!r})}})
automation.save_draft(draft, rev=automation.draft_rev)
automation.activate(None)
"""
REPLACE = """
from automations.models import Automation
Automation.objects.get(project="{project}", name="To be replaced").make_trigger("http", "request")
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


@pytest.fixture(scope="module")
def made(product: Installation, _stub: Stub) -> tuple[str, dict[str, str]]:
    automations = {
        "Names": [SHAPE],
        "Orders": [call(f"{_stub.url}/orders")],
        "Broken": [BROKEN],
        "To be repaired": [BROKEN],
        "To be replaced": [BROKEN],
        "Prices": [BROKEN, ANSWER],
    }
    project, triggers = json.loads(product.python(SET_UP.format(automations=json.dumps(automations))))
    return project, triggers


@pytest.fixture
def shop(page: Page, product: Installation, made: tuple[str, dict[str, str]]) -> Shop:
    page.goto("/login/")
    page.get_by_label("Username").fill("log-reader")
    page.get_by_label("Password").fill("log-reader")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/projects/**")
    project, triggers = made
    return Shop(product=product, page=page, project=project, triggers=triggers)


def assert_accessible(page: Page) -> None:
    found = Axe(use_minified_file=True).run(
        page, options=OPTIONS, html_report_generated=False, json_report_generated=False
    )
    assert [(problem["id"], [node["target"] for node in problem["nodes"]]) for problem in found["violations"]] == []


def retry(page: Page) -> None:
    dialog = page.locator("#dialog")
    dialog.get_by_role("button", name="Retry Execution").click()
    page.locator("#confirm").get_by_role("button", name="Retry").click()


def test_a_retry_succeeds_when_the_service_is_well_again(shop: Shop, stub: Stub) -> None:
    stub.answer(503, {"error": "maintenance"})
    execution = shop.post("Orders", {"id": 7})
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
    execution = shop.post("To be repaired", {"id": 7})
    shop.page.goto(shop.log)
    shop.expect_status(execution, "failed")

    shop.product.python(REPAIR.format(project=shop.project, steps=json.dumps([call(f"{stub.url}/repaired")])))
    shop.row(execution).get_by_role("button", name="Info").click()
    retry(shop.page)

    shop.expect_status(execution, "success")
    assert [request.path for request in stub.requests] == ["/repaired"]


def test_a_retry_is_refused_in_words_when_the_trigger_was_replaced(shop: Shop) -> None:
    execution = shop.post("To be replaced", {"id": 7})
    shop.product.python(REPLACE.format(project=shop.project))
    shop.page.goto(shop.log)
    shop.expect_status(execution, "failed")

    shop.row(execution).get_by_role("button", name="Info").click()

    dialog = shop.page.locator("#dialog")
    expect(dialog).to_contain_text("This execution holds the payload of the trigger configured before")
    expect(dialog.get_by_role("button", name="Retry Execution")).to_have_count(0)


def test_a_first_success_says_so_and_has_no_retry(shop: Shop) -> None:
    execution = shop.post("Names", {"name": "ada"})
    shop.page.goto(shop.log)
    shop.expect_status(execution, "success")

    shop.row(execution).get_by_role("link", name="Names").click()

    dialog = shop.page.locator("#dialog")
    expect(dialog.get_by_text("Executed successfully, attempt 1")).to_be_visible()
    expect(dialog.get_by_role("button", name="Retry Execution")).to_have_count(0)
    expect(shop.row(execution).get_by_role("button", name="Info")).to_have_count(0)


def test_info_goes_away_when_both_retries_are_used_up(shop: Shop) -> None:
    execution = shop.post("Broken", {"note": "it's <here>"})
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
    assert shop.triggers["Broken"] in copied
    assert """--data-raw '{"note":"it'"'"'s <here>"}'""" in copied
    dialog.get_by_role("button", name="Close").click()
    expect(row).to_contain_text("3 of 3")
    expect(row.get_by_role("button", name="Info")).to_have_count(0)
    row.get_by_role("link", name="Broken").click()
    dialog.locator("#step-trigger").get_by_role("button", name="Code").click()
    expect(dialog.locator("#step-trigger")).to_contain_text("it's <here>")


def test_an_automation_that_answers_cannot_be_retried(shop: Shop) -> None:
    execution = shop.post("Prices", {"sku": 1})
    shop.page.goto(shop.log)
    shop.expect_status(execution, "failed")

    shop.row(execution).get_by_role("button", name="Info").click()

    dialog = shop.page.locator("#dialog")
    expect(dialog).to_contain_text("An automation with a Response step cannot be retried")
    expect(dialog.get_by_role("button", name="Retry Execution")).to_have_count(0)


def test_payloads_open_with_code_and_are_copied(shop: Shop) -> None:
    execution = shop.post("Names", {"name": "ada", "tags": ["<b>", "ä"]})
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
    first = shop.post("Names", {"name": "ada"})
    shop.page.goto(shop.log)
    expect(shop.row(first)).to_be_visible()

    second = shop.post("Names", {"name": "bob"})

    button = shop.page.get_by_role("link", name="1 new execution")
    expect(button).to_be_visible(timeout=15_000)
    expect(shop.row(second)).to_have_count(0)
    button.click()
    expect(shop.row(second)).to_be_visible()


def test_pause_stops_the_updates(shop: Shop) -> None:
    shop.post("Names", {"name": "ada"})
    shop.page.goto(shop.log)
    shop.page.get_by_role("button", name="Live").click()
    expect(shop.page.get_by_role("button", name="Paused")).to_be_visible()
    asked: list[str] = []
    shop.page.on("request", lambda request: asked.append(request.url) if "/delta/" in request.url else None)

    shop.post("Names", {"name": "bob"})
    shop.page.wait_for_timeout(4500)  # two rounds of the timer: nothing may come

    assert asked == []
    shop.page.get_by_role("button", name="Paused").click()
    expect(shop.page.get_by_role("link", name="1 new execution")).to_be_visible(timeout=15_000)


def test_filters_live_in_the_address(shop: Shop) -> None:
    success, failed = shop.post("Names", {"name": "ada"}), shop.post("Broken", {})
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
    execution = shop.post("Names", {"name": "ada"})
    shop.page.goto(shop.log)
    shop.row(execution).get_by_role("link", name="Names").click()
    expect(shop.page.locator("#dialog")).to_be_visible()
    expect(shop.page).to_have_url(re.compile(rf"/executions/{execution}/$"))

    shop.page.keyboard.press("Escape")

    expect(shop.page.locator("#dialog")).to_be_hidden()
    expect(shop.page).to_have_url(re.compile(r"/executions/$"))
    expect(shop.row(execution)).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_accessible(shop: Shop, scheme: Any) -> None:
    execution = shop.post("Broken", {"name": "ada"})
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

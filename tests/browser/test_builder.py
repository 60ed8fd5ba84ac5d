from __future__ import annotations

import json
import re
import urllib.request

import pytest
from playwright.sync_api import Page, expect
from pytest_playwright_axe import Axe

from harness import automations
from harness.browser import sign_in
from harness.installation import Installation
from tests.support.stub import Stub

OPTIONS = {"resultTypes": ["violations"]}


@pytest.fixture(scope="module")
def project(shared_product: Installation) -> str:
    return str(automations.make(shared_product, {}, name="Workshop", owner="designer").project)


@pytest.fixture
def page(page: Page, project: str) -> Page:
    sign_in(page, "designer", "designer")
    return page


def make(page: Page, project: str, name: str) -> str:
    """Make an automation with a trigger by clicks, and return the trigger's secret."""
    page.goto(f"/projects/{project}/automations/")
    page.get_by_role("link", name="New automation").first.click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create automation").click()
    page.get_by_role("button", name=re.compile("HTTP request received|HTTP:")).click()
    return page.locator("#new-secret").inner_text()


def add(page: Page, action: str) -> None:
    page.get_by_role("link", name=re.compile("Add a step after")).last.click()
    page.locator("button.choice-item", has_text=action).first.click()
    expect(page.locator("#builder")).to_have_attribute("data-pane", "step")


def assert_accessible(page: Page) -> None:
    found = Axe(use_minified_file=True).run(
        page, options=OPTIONS, html_report_generated=False, json_report_generated=False
    )
    assert [(problem["id"], [node["target"] for node in problem["nodes"]]) for problem in found["violations"]] == []


def test_automation_is_built_tested_and_started_by_clicks(page: Page, project: str, stub: Stub) -> None:
    stub.answer(200, {"total": 250})
    secret = make(page, project, "Built by clicks")
    result = page.locator("#test-result")

    page.get_by_label("Body", exact=True).fill('{"id": "A-1"}')
    page.get_by_role("button", name="Test trigger").click()
    expect(result).to_contain_text("This would start an execution.")

    add(page, "HTTP request")
    url = page.get_by_label("URL")
    url.fill(f"{stub.url}/orders/")
    url.press("End")
    page.locator("[data-insert='trigger.body.id']").click()
    expect(url).to_have_value(f"{stub.url}/orders/{{{{ trigger.body.id }}}}")
    page.get_by_role("button", name="Save and test").click()
    expect(result).to_contain_text('"total": 250')
    assert stub.requests[-1].path == "/orders/A-1"

    page.get_by_role("button", name="Activate").click()
    expect(page.locator(".chip[data-kind=live]")).to_be_visible()
    trigger_url = page.locator("#trigger-url").inner_text()
    request = urllib.request.Request(
        trigger_url, b'{"id": "A-2"}', {"Content-Type": "application/json", "ah-http-key": secret}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 202
        assert json.load(answer)["status"] == "pending"
    assert stub.wait_for(2)[-1].path == "/orders/A-2"


def test_activation_warns_and_goes_on_anyway(page: Page, project: str) -> None:
    make(page, project, "Activated anyway")
    add(page, "HTTP request")

    page.get_by_role("button", name="Activate").click()
    warnings = page.locator(".warnings")
    expect(warnings).to_contain_text("URL")
    page.get_by_role("button", name="Activate anyway").click()

    expect(page.locator(".chip[data-kind=live]")).to_be_visible()


def test_steps_move_and_go_by_clicks(page: Page, project: str) -> None:
    make(page, project, "Moved about")
    add(page, "Wait for")
    add(page, "Set fields")
    titles = page.locator(".builder-flow .node-title")
    expect(titles).to_have_text(["HTTP request", "Wait for", "Set fields"])

    page.locator("#node-set_fields").hover()
    page.get_by_role("button", name="Move Set fields up").click()
    expect(titles).to_have_text(["HTTP request", "Set fields", "Wait for"])

    page.get_by_role("button", name="Delete").click()
    confirm = page.locator("#confirm")
    expect(confirm).to_contain_text("Delete step “Set fields”?")
    confirm.get_by_role("button", name="Delete step").click()
    expect(titles).to_have_text(["HTTP request", "Wait for"])


def test_back_button_returns_to_the_pane_before(page: Page, project: str) -> None:
    make(page, project, "Back and forth")
    add(page, "Wait for")
    expect(page.get_by_role("heading", name="Wait for")).to_be_visible()
    page.get_by_role("link", name="Close").click()
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()

    page.go_back()

    expect(page.get_by_role("heading", name="Wait for")).to_be_visible()
    expect(page.locator("header.top")).to_have_count(1)


def test_second_tab_is_told_that_its_draft_is_stale(page: Page, project: str, console_errors: list[str]) -> None:
    make(page, project, "Two tabs")
    add(page, "Wait for")
    expect(page.get_by_role("heading", name="Wait for")).to_be_visible()
    other = page.context.new_page()
    other.goto(page.url)
    other.get_by_label("Wait for", exact=True).fill("5")
    other.get_by_role("button", name="Save step").click()
    expect(other.locator(".toast")).to_contain_text("Step saved.")

    page.get_by_label("Wait for", exact=True).fill("9")
    page.get_by_role("button", name="Save step").click()

    expect(page.get_by_role("alert").first).to_contain_text("this draft has changed since you opened it")
    expect(page.get_by_label("Wait for", exact=True)).to_have_value("9")
    page.get_by_role("link", name="Reload").click()
    expect(page.get_by_label("Wait for", exact=True)).to_have_value("5")
    console_errors[:] = [error for error in console_errors if "409" not in error]


def test_builder_works_without_scripts(page: Page, project: str, base_url: str) -> None:
    plain = page.context.browser.new_context(java_script_enabled=False, base_url=base_url)  # type: ignore[union-attr]
    plain.add_cookies(page.context.cookies())  # type: ignore[arg-type]
    tab = plain.new_page()

    make(tab, project, "Without scripts")
    add(tab, "Text from a template")
    tab.get_by_label("Template", exact=True).fill("Order {{ trigger.body.id }}")
    tab.get_by_role("button", name="Save and test").click()

    expect(tab.locator("#test-result")).to_contain_text("Order A-17")
    plain.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_builder_is_accessible(page: Page, project: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    make(page, project, f"Accessible in {scheme}")
    assert_accessible(page)
    page.get_by_role("button", name="Test trigger").click()
    expect(page.locator("#test-result")).to_be_visible()
    assert_accessible(page)
    add(page, "Continue only if")
    assert_accessible(page)
    add(page, "HTTP request")
    page.get_by_role("button", name="Save and test").click()
    expect(page.locator("#test-result")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("link", name="Close").click()
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Activate").click()
    assert_accessible(page)
    for address in ("/projects/", "/projects/new/", "/settings/", f"/projects/{project}/variables/"):
        page.goto(address)
        assert_accessible(page)
    page.goto(f"/projects/{project}/automations/")
    expect(page.get_by_role("switch").first).to_be_visible()
    assert_accessible(page)


def test_pages_fit_every_width(page: Page, project: str) -> None:
    make(page, project, "Fits")
    root = page.url.removesuffix("trigger/")
    of_project = [f"/projects/{project}/automations/", f"/projects/{project}/variables/"]

    for address in [
        root,
        f"{root}trigger/",
        f"{root}add/0/",
        f"{root}activate/",
        "/settings/",
        "/projects/",
        *of_project,
    ]:
        page.goto(address)
        for width in (320, 400, 800, 1600):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (address, width)


def test_a_typed_secret_becomes_a_variable_with_one_click(page: Page, shared_product: Installation) -> None:
    headers = [{"name": "Authorization", "value": "Bearer typed-t0ken-0815"}]
    given = {"url": "https://example.com/", "headers": headers}
    step = {"key": "send", "connector": "http", "action": "request", "input": given}
    made = automations.make(shared_product, {"Typed": [step]}, name="Typed", owner="typist")
    page.context.clear_cookies()
    sign_in(page, "typist", "typist")
    page.goto(f"/projects/{made.project}/automations/{made.automations['Typed']}/steps/send/")
    page.get_by_label("URL", exact=True).fill("https://example.com/changed")

    page.get_by_role("button", name="Save and make it a secret variable").click()

    expect(page.get_by_text("reads the new secret variable “SEND_AUTHORIZATION”")).to_be_visible()
    expect(page.get_by_label("URL", exact=True)).to_have_value("https://example.com/changed")
    expect(page.locator("input[value='Bearer {{ vars.SEND_AUTHORIZATION }}']")).to_be_visible()
    assert "typed-t0ken" not in page.content()
    page.goto(f"/projects/{made.project}/variables/")
    expect(page.get_by_role("row", name=re.compile("SEND_AUTHORIZATION.*Secret"))).to_be_visible()

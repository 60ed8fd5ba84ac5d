"""The log in a browser: live, filtered, with dialogs and payloads."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect
from pytest_playwright_axe import Axe

from tests.support.shop import Shop
from tests.support.stub import Stub

OPTIONS = {"resultTypes": ["violations"]}


def assert_accessible(page: Page) -> None:
    found = Axe(use_minified_file=True).run(
        page, options=OPTIONS, html_report_generated=False, json_report_generated=False
    )
    assert [(problem["id"], [node["target"] for node in problem["nodes"]]) for problem in found["violations"]] == []


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


def test_a_hidden_page_asks_nothing_until_it_is_seen(shop: Shop) -> None:
    shop.post("Names", {"name": "ada"})
    shop.page.goto(shop.log)
    hide(shop.page, is_hidden=True)
    asked = polls_of(shop.page)

    shop.post("Names", {"name": "bob"})
    shop.page.wait_for_timeout(4500)  # two rounds of the timer: nothing may come

    assert asked == []
    hide(shop.page, is_hidden=False)
    expect(shop.page.get_by_role("link", name="1 new execution")).to_be_visible(timeout=15_000)


def hide(page: Page, *, is_hidden: bool) -> None:
    page.evaluate(
        "isHidden => { Object.defineProperty(document, 'hidden', { value: isHidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange', { bubbles: true })); }",
        is_hidden,
    )


def polls_of(page: Page, event: Literal["request", "requestfinished"] = "request") -> list[str]:
    seen: list[str] = []
    page.on(event, lambda request: seen.append(request.url) if "rows=" in request.url else None)
    return seen


def test_a_page_that_nobody_touches_asks_ever_more_seldom(shop: Shop) -> None:
    execution = shop.post("Names", {"name": "ada"})
    shop.page.goto(shop.log)
    shop.expect_status(execution, "success")
    shop.page.clock.install()
    shop.page.goto(shop.log)

    first = polls_within(shop.page, seconds=60)
    polls_within(shop.page, seconds=400)
    late = polls_within(shop.page, seconds=300)

    assert 25 <= first <= 32
    assert late <= 11  # one in 30 s
    with shop.page.expect_request(lambda request: "rows=" in request.url):
        shop.page.mouse.move(40, 40)  # somebody is back
        shop.page.clock.run_for(100)


def polls_within(page: Page, *, seconds: int) -> int:
    """Let the page's clock run, and return how often it polled."""
    asked, answered = polls_of(page), polls_of(page, "requestfinished")
    for _ in range(seconds // 2):
        page.clock.run_for(2000)
        while len(answered) < len(asked):
            page.wait_for_timeout(5)
    return len(asked)


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

    for path in (shop.log, f"{shop.log}{execution}/", f"/projects/{shop.made.project}/usage/", "/help/executions/"):
        shop.page.goto(path)
        assert_accessible(shop.page)
    shop.page.goto(shop.log)
    shop.row(execution).get_by_role("button", name="Info").click()
    expect(shop.page.locator("#dialog pre, #dialog .payload").first).to_be_visible()
    assert_accessible(shop.page)

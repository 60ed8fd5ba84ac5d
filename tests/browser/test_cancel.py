"""Executions are cancelled in the pop-up, and when their automation is deleted."""

from __future__ import annotations

from threading import Event

import pytest
from playwright.sync_api import Locator, Page, expect

from harness.automations import LONG_WAIT, Made, make
from harness.browser import sign_in
from harness.installation import Installation
from harness.processes import until
from tests.support.shop import SHAPE, Shop, call
from tests.support.stub import Stub


@pytest.fixture(scope="module")
def automations(shared_product: Installation, _stub: Stub) -> Made:
    steps = {"Waits": [LONG_WAIT], "Slow": [call(f"{_stub.url}/slow"), SHAPE], "To be deleted": [LONG_WAIT]}
    return make(shared_product, steps, name="Cancelled", owner="canceller")


@pytest.fixture
def shop(page: Page, product: Installation, automations: Made) -> Shop:
    sign_in(page, "canceller", "canceller")
    return Shop(product=product, page=page, made=automations)


def open_and_cancel(shop: Shop, execution: str, name: str) -> Locator:
    shop.row(execution).get_by_role("link", name=name).click()
    dialog = shop.page.locator("#dialog")
    dialog.get_by_role("button", name="Cancel execution").click()
    shop.page.locator("#confirm").get_by_role("button", name="Cancel execution").click()
    return dialog


def expect_focus_within(shop: Shop) -> None:
    """The focus is on the message that says what became of the execution, not lost."""
    expect(shop.page.locator("#dialog [data-refocus]")).to_be_focused()


def let_engines_look(installation: Installation) -> None:
    """Return once the engines have read requests to stop, which they do as often as they beat."""

    def beats() -> list[object]:
        sql = "SELECT beat_at FROM executions_engine WHERE NOT is_quarantine ORDER BY id"
        return [row["beat_at"] for row in installation.query(sql)]

    for _ in range(3):
        before = beats()
        until(lambda before=before: beats() != before, what="the engines beat")  # type: ignore[misc]


def test_a_wait_is_cancelled_at_once(shop: Shop) -> None:
    execution = shop.post("Waits", {})
    shop.page.goto(shop.log)
    shop.expect_status(execution, "paused")

    dialog = open_and_cancel(shop, execution, "Waits")

    expect(dialog).to_contain_text("Cancelled by canceller while it waited in step “Wait for”.")
    expect(dialog.locator(".toast")).to_contain_text("Cancelled. The execution has ended.")
    expect_focus_within(shop)
    shop.expect_status(execution, "rejected")
    expect(dialog.get_by_role("button", name="Cancel execution")).to_have_count(0)
    dialog.get_by_role("button", name="Close", exact=True).click()
    expect(shop.page.locator("body > #toasts")).to_be_attached()


def test_a_call_under_way_ends_first(shop: Shop, stub: Stub) -> None:
    stub.answer(200, {"ok": True}, path="/slow", hold=(go_on := Event()))
    execution = shop.post("Slow", {"name": "ada"})
    shop.page.goto(shop.log)
    shop.expect_status(execution, "running")

    dialog = open_and_cancel(shop, execution, "Slow")

    expect(dialog.locator(".toast")).to_contain_text(
        "The execution stops before its next step; one that begins within 2 seconds may still run."
    )
    expect_focus_within(shop)
    let_engines_look(shop.product)
    go_on.set()
    expect(dialog).to_contain_text("Cancelled by canceller before step “Shape”.", timeout=15_000)
    expect(dialog.locator("#step-call")).to_have_attribute("data-status", "success")
    expect_focus_within(shop)


def test_nothing_is_cancelled_when_the_question_is_answered_with_no(shop: Shop) -> None:
    execution = shop.post("Waits", {})
    shop.page.goto(shop.log)
    shop.expect_status(execution, "paused")
    shop.row(execution).get_by_role("link", name="Waits").click()

    button = shop.page.locator("#dialog").get_by_role("button", name="Cancel execution")
    button.click()
    shop.page.locator("#confirm").get_by_role("button", name="Let it run").click()

    expect(button).to_be_focused()
    shop.expect_status(execution, "paused")


def test_deleting_asks_what_becomes_of_those_that_wait(shop: Shop) -> None:
    name = "To be deleted"
    execution = shop.post(name, {})
    shop.page.goto(shop.log)
    shop.expect_status(execution, "paused")
    shop.page.goto(f"/projects/{shop.made.project}/automations/{shop.made.automations[name]}/")
    shop.page.get_by_text("Copy or delete").click()
    shop.page.get_by_label("Type To be deleted to delete").fill(name)

    shop.page.get_by_role("button", name="Delete automation").click()
    expect(shop.page.get_by_role("alert")).to_contain_text("have not ended: 1 Paused.")
    shop.page.get_by_role("button", name="Delete and cancel them").click()

    expect(shop.page.locator(".toast")).to_contain_text("What waited is cancelled.")
    shop.page.goto(shop.log)
    shop.expect_status(execution, "rejected")

"""A failed execution is repaired and retried in a browser."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.support.shop import Shop, call
from tests.support.stub import Stub


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
    expect(dialog.get_by_text("2 of 2 retries left")).to_be_visible()
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

    repaired = [call(f"{stub.url}/repaired")]
    shop.product.call("harness.factory.publish_steps", str(shop.made.automations["To be repaired"]), repaired)
    shop.row(execution).get_by_role("button", name="Info").click()
    retry(shop.page)

    shop.expect_status(execution, "success")
    assert [request.path for request in stub.requests] == ["/repaired"]


def test_a_retry_is_refused_in_words_when_the_trigger_was_replaced(shop: Shop) -> None:
    execution = shop.post("To be replaced", {"id": 7})
    shop.product.call("harness.factory.replace_trigger", str(shop.made.automations["To be replaced"]))
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
    for left in ("2 of 2 retries left", "1 of 2 retries left"):
        shop.expect_status(execution, "failed")
        if not dialog.is_visible():
            row.get_by_role("button", name="Info").click()
        expect(dialog.get_by_text(left)).to_be_visible(timeout=15_000)
        retry(shop.page)

    expect(dialog).to_contain_text("Both retries of this execution are used up", timeout=15_000)
    dialog.get_by_role("button", name="Copy trigger payload as cURL").click()
    copied = shop.page.evaluate("navigator.clipboard.readText()")
    assert shop.made.triggers["Broken"] in copied
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

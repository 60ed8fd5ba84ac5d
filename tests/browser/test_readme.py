"""The README's five steps, done as they are written: each label and each text that is used here stands in them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from playwright.sync_api import Page, expect

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
STEPS = README.partition("## Try it in five steps")[2].partition("\n## ")[0]


def label(text: str) -> str:
    assert f"**{text}**" in STEPS, text
    return text


def typed(text: str) -> str:
    assert f"`{text}`" in STEPS, text
    return text


def command(secret: str, trigger_url: str) -> str:
    """Return the README's command with what the reader has copied in place of the dots."""
    written = re.search(r"```sh\n(.*?)```", STEPS, re.DOTALL)
    assert written
    filled, count = re.subn(r"^( *SECRET=).*$", rf"\g<1>{secret}", written[1], flags=re.MULTILINE)
    filled, more = re.subn(r"^( *TRIGGER_URL=).*$", rf"\g<1>{trigger_url}", filled, flags=re.MULTILINE)
    assert count == more == 1
    return filled


def open_failed(page: Page, name: str) -> None:
    page.get_by_role("link", name=label("Execution Log"), exact=True).first.click()
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))
    expect(row).to_contain_text("Failed")
    row.get_by_role("button", name=label("Info")).click()


def test_the_five_steps_of_the_readme_end_as_a_success(signed_in: Page) -> None:
    page, name = signed_in, "Orders"
    assert f"*{name}*" in STEPS

    page.goto("/")
    page.get_by_role("link", name=label("Web shop"), exact=True).click()
    page.get_by_role("link", name=label("New automation")).click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name=label("Create automation")).click()
    page.get_by_role("button", name=label("HTTP: HTTP request received")).click()
    secret, trigger_url = page.locator("#new-secret").inner_text(), page.locator("#trigger-url").inner_text()

    page.get_by_role("link", name="Add a step after the trigger").click()
    page.get_by_role("button", name=label("Text from a template")).click()
    expect(page.get_by_role("button", name=label("Save step"))).to_be_visible()
    page.get_by_role("button", name=label("Activate"), exact=True).click()
    page.get_by_role("button", name=label("Activate anyway")).click()
    expect(page.get_by_role("button", name="Deactivate")).to_be_visible()

    answer = subprocess.run(["sh", "-c", command(secret, trigger_url)], capture_output=True, text=True, check=True)
    assert '"execution_id"' in answer.stdout

    open_failed(page, name)
    expect(page.get_by_role("dialog")).to_contain_text("Text from a template")
    page.get_by_role("link", name=label("Open in the builder")).click()
    page.get_by_role("link", name=label("Text from a template"), exact=True).first.click()
    field = page.get_by_label(label("Template"), exact=True)
    field.fill(typed("Order {{ trigger.body.id }} of {{ trigger.body.customer.name }}"))
    page.get_by_role("button", name=label("Save step")).click()
    page.get_by_role("button", name=label("Publish changes")).click()
    page.get_by_role("button", name=label("Publish anyway")).click()
    expect(page.locator("header .subtitle")).to_contain_text("Version 2 is live.")

    open_failed(page, name)
    page.get_by_role("button", name=label("Retry Execution")).click()
    page.get_by_role("button", name=label("Retry"), exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("Executed successfully, attempt 2")

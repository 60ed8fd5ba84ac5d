from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator, Page, expect

from harness.automations import Made
from harness.installation import Installation


@dataclass(frozen=True, kw_only=True)
class Shop:
    """The project of these tests, in the installation that all browser tests share, and a person in it."""

    product: Installation
    page: Page
    made: Made

    @property
    def log(self) -> str:
        return f"/projects/{self.made.project}/executions/"

    def post(self, automation: str, body: Any) -> str:
        """Post to an automation's trigger URL and return the execution's id, whatever the answer."""
        _, answer = self.made.post(automation, body)
        return str(answer["execution_id"])

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

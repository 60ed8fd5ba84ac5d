"""Every page: accessible in both schemes, no wider than the window, nothing on its console."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.sync_api import Page
from pytest_playwright_axe import Axe

from harness.installation import Installation

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OPTIONS = {"resultTypes": ["violations"], "runOnly": {"type": "tag", "values": TAGS}}
WIDTHS = (400, 800, 1600)


@pytest.fixture
def addresses(product: Installation) -> dict[str, str]:
    demo = product.demo
    project = f"/projects/{demo['project_uid']}"
    return {
        "projects": "/projects/",
        "automations": f"{project}/automations/",
        "new automation": f"{project}/automations/new/",
        "builder": f"{project}/automations/{demo['automations']['chain']['uid']}/",
        "trigger": f"{project}/automations/{demo['automations']['chain']['uid']}/trigger/",
        "step": f"{project}/automations/{demo['automations']['chain']['uid']}/steps/deliver/",
        "requests": f"{project}/automations/{demo['automations']['transform']['uid']}/requests/",
        "log": f"{project}/executions/",
        "nothing matches": f"{project}/executions/?status=running",
        "usage": f"{project}/usage/",
        "variables": f"{project}/variables/",
        "settings": "/settings/",
        "password": "/settings/password/",
        "organization": f"/settings/organization/{demo['organization_uid']}/",
        "help": "/help/executions/",
        "not found": "/nowhere/",
    }


NAMES = [
    "projects", "automations", "new automation", "builder", "trigger", "step", "requests", "log", "nothing matches",
    "usage", "variables", "settings", "password", "organization", "help", "not found",
]  # fmt: skip


def check(page: Page) -> None:
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        found = Axe(use_minified_file=True).run(
            page, options=OPTIONS, html_report_generated=False, json_report_generated=False
        )
        assert not found["violations"], [f"{v['id']}: {v['nodes'][0]['html']}" for v in found["violations"]]
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), width


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_accessible_and_fits(
    signed_in: Page, addresses: dict[str, str], console_errors: list[str], name: str
) -> None:
    signed_in.goto(addresses[name])
    signed_in.wait_for_load_state("networkidle")

    check(signed_in)

    if name == "not found":
        console_errors.clear()  # the 404 itself


@pytest.mark.parametrize("path", ["/login/", "/password/forgotten/", "/password/forgotten/sent/", "/password/new/a/b/"])
def test_a_page_before_sign_in_is_accessible_and_fits(page: Page, path: str) -> None:
    page.goto(path)

    check(page)


def test_the_admin_works_under_the_policy(page: Page, product: Installation, addresses: dict[str, str]) -> None:
    staff = product.demo["users"]["staff"]
    page.goto("/admin/")
    page.get_by_label("Username").fill(staff["username"])
    page.get_by_label("Password").fill(staff["password"])
    page.get_by_role("button", name="Sign in").click()

    for place in ("projects/organization/", "projects/organization/add/", "executions/execution/"):
        page.goto(f"/admin/{place}")
        page.wait_for_load_state("networkidle")
        assert page.locator("#content").is_visible()

"""Chromium as tests and screenshots drive it."""

from __future__ import annotations

import shutil

from playwright.sync_api import Page

CHROMIUM = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


def chromium() -> str | None:
    """Return the system's Chromium; None means the one that `playwright install chromium` has fetched."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


def sign_in(page: Page, username: str, password: str) -> None:
    """Sign in by the form, and wait for the page of projects that follows."""
    page.goto("/login/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/projects/**")

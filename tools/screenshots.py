"""Take the screenshots of the README from a fresh demo: `make screenshots`. Needs Chromium."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from harness.browser import ARGUMENTS, chromium, sign_in  # noqa: E402  (the checkout is not installed)
from harness.databases import SqliteDatabase  # noqa: E402
from harness.installation import Installation  # noqa: E402

TARGET = ROOT / "docs" / "screenshots"
SIZE: ViewportSize = {"width": 1280, "height": 800}


@contextmanager
def demo() -> Iterator[Installation]:
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation(Path(folder), SqliteDatabase(Path(folder)))
        try:
            installation.prepare()
            installation.start()
            yield installation
        finally:
            installation.stop()


def signed_in(browser: Browser, installation: Installation) -> Page:
    context = browser.new_context(
        base_url=installation.url, viewport=SIZE, device_scale_factor=2, locale="en-GB", timezone_id="UTC"
    )
    page = context.new_page()
    builder = installation.demo["users"]["builder"]
    sign_in(page, builder["username"], builder["password"])
    return page


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    with demo() as installation, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        page = signed_in(browser, installation)
        page.goto(f"/projects/{installation.demo['project_uid']}/executions/")
        page.screenshot(path=TARGET / "execution-log.png")
        page.get_by_role("button", name="Info").or_(page.get_by_role("link", name="Info")).first.click()
        page.get_by_role("dialog").get_by_role("button", name="Retry Execution").wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=TARGET / "execution.png")
        browser.close()
    for file in sorted(TARGET.glob("*.png")):
        print(f"wrote {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from harness.automations import Made, make
from harness.browser import ARGUMENTS, chromium, sign_in
from harness.installation import Installation
from tests.support.shop import ANSWER, BROKEN, SHAPE, Shop, call
from tests.support.stub import Stub


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    found = chromium()
    return browser_type_launch_args | {"args": ARGUMENTS} | ({"executable_path": found} if found else {})


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return browser_context_args | {
        "permissions": ["clipboard-read", "clipboard-write"],
        "timezone_id": "Europe/Berlin",
        "locale": "en-GB",
        "reduced_motion": "reduce",
        "viewport": {"width": 1280, "height": 800},
    }


@pytest.fixture(scope="session")
def template(prepared: Installation) -> Installation:
    """Run the pages on SQLite only: what differs by database is tested without a browser."""
    return prepared


@pytest.fixture(scope="session")
def base_url(shared_product: Installation) -> str:
    return shared_product.url


@pytest.fixture
def console_errors() -> list[str]:
    """Return what the page's console complained of; a test that means to see an error clears it."""
    return []


@pytest.fixture
def page(page: Page, product: Installation, console_errors: list[str]) -> Iterator[Page]:
    """Return a page of the product; any error on its console, a CSP violation too, fails the test."""
    page.on("console", lambda message: console_errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: console_errors.append(str(error)))
    yield page
    assert not console_errors, console_errors


@pytest.fixture
def signed_in(page: Page, product: Installation) -> Page:
    """Return the page of the demo's builder, signed in."""
    builder = product.demo["users"]["builder"]
    sign_in(page, builder["username"], builder["password"])
    return page


@pytest.fixture(scope="session")
def shop_automations(shared_product: Installation, _stub: Stub) -> Made:
    """Return one automation for each way to go; every test has executions of its own."""
    automations = {
        "Names": [SHAPE],
        "Orders": [call(f"{_stub.url}/orders")],
        "Broken": [BROKEN],
        "To be repaired": [BROKEN],
        "To be replaced": [BROKEN],
        "Prices": [BROKEN, ANSWER],
    }
    return make(shared_product, automations, name="Shop", owner="log-reader")


@pytest.fixture
def shop(page: Page, product: Installation, shop_automations: Made) -> Shop:
    sign_in(page, "log-reader", "log-reader")
    return Shop(product=product, page=page, made=shop_automations)

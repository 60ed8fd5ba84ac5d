"""Whose share a request uses: the address that the outermost of our own proxies has seen, whatever a client claims."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from agentos_site import pages
from executions.intake.client import client_address, owner_of
from tests.support.door import send

ADDRESSES = {
    "no proxy": ("10.0.0.1", b"1.2.3.4", 0, "10.0.0.1"),
    "one proxy": ("10.0.0.1", b"203.0.113.7", 1, "203.0.113.7"),
    "one proxy, a spoofed entry": ("10.0.0.1", b"1.2.3.4, 203.0.113.7", 1, "203.0.113.7"),
    "two proxies": ("10.0.0.1", b"203.0.113.7, 10.0.0.2", 2, "203.0.113.7"),
    "two proxies, spoofed entries": ("10.0.0.1", b"1.1.1.1,2.2.2.2,203.0.113.7,10.0.0.2", 2, "203.0.113.7"),
    "two proxies, one has said something": ("10.0.0.1", b"203.0.113.7", 2, "203.0.113.7"),
    "a proxy that says nothing": ("10.0.0.1", b"", 1, "10.0.0.1"),
    "no address": ("10.0.0.1", b"1.2.3.4, unknown", 1, "10.0.0.1"),
    "a port": ("10.0.0.1", b"203.0.113.7:4711", 1, "203.0.113.7"),
    "IPv6": ("10.0.0.1", b"2001:db8::1", 1, "2001:db8::1"),
    "IPv6 with port": ("10.0.0.1", b"[2001:DB8::1]:4711", 1, "2001:db8::1"),
    "not ASCII": ("10.0.0.1", "1.2.3.4, é".encode(), 1, "10.0.0.1"),
}


@pytest.mark.parametrize(("peer", "forwarded", "proxies", "address"), ADDRESSES.values(), ids=ADDRESSES)
def test_address_is_what_our_own_proxies_have_seen(peer: str, forwarded: bytes, proxies: int, address: str) -> None:
    assert client_address(peer, forwarded, proxies) == address


def test_an_ipv6_network_has_one_share() -> None:
    assert owner_of("2001:db8::1") == owner_of("2001:db8::ffff:1") != owner_of("2001:db8:0:1::1")
    assert owner_of("::ffff:203.0.113.7") == owner_of("203.0.113.7") != owner_of("203.0.113.8")


@pytest.mark.django_db
@pytest.mark.parametrize(("proxies", "address"), [(0, "10.0.0.1"), (1, "203.0.113.7")])
def test_pages_and_shares_know_the_same_address(
    proxies: int, address: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRUSTED_PROXIES = proxies
    seen: list[Any] = []

    def page(environ: dict[str, Any], start: Any) -> list[bytes]:
        seen.append((environ["REMOTE_ADDR"], dict(pages.places().held)))
        start("200 OK", [])
        return [b"seen"]

    monkeypatch.setattr(pages, "django_application", page)
    spoofed = "1.2.3.4, 203.0.113.7"

    assert send("/login/", method="GET", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=spoofed).body == b"seen"
    assert seen == [(address, {address: 1})]
    assert pages.places().held == {}


def test_an_address_has_its_share_of_pages_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages.places(), "limit", 0)

    page, api = send("/login/", method="GET"), send("/v1/projects", method="GET")

    assert (page.status, api.status) == (503, 503)
    assert page.headers["retry-after"] == api.headers["retry-after"] == "5"
    assert "too many pages" in page.body.decode() and api.code == "too_many_pages"

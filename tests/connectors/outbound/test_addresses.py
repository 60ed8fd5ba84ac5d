"""Which addresses and names steps may call."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web

from connectors.outbound.addresses import is_public, parse_allow
from connectors.outbound.client import Outbound
from connectors.sdk.call import StepError
from tests.support.acting import NOTHING_ALLOWED, Remote, failure, ok


def names(*answers: list[str]) -> Callable[[str, int], Coroutine[Any, Any, list[str]]]:
    """Return a name server that gives these answers in turn, the last one for ever."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


PRIVATE = [
    "0.0.0.0", "10.0.0.5", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.1.1",
    "192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "168.63.129.16", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "3fff::1", "2620:4f:8000::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "ff02::1", "100::1", "5f00::1",
]  # fmt: skip
PUBLIC = ["93.184.216.34", "1.1.1.1", "172.32.0.1", "2606:2800:220:1::1", "2a00:1450:4001::1", "::ffff:93.184.216.34"]


@pytest.mark.parametrize("address", PRIVATE)
def test_address_is_refused_when_private_or_reserved(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_address_is_let_through_when_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


LITERALS = [
    "127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "0.0.0.0", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "169.254.169.254", "10.0.0.5", "[fd00:ec2::254]", "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]", "①②⑦.0.0.1", "127.0.0.1.",
]  # fmt: skip


@pytest.mark.parametrize("host", LITERALS)
def test_no_byte_is_sent_when_the_host_is_private(host: str) -> None:
    async def scenario() -> tuple[StepError, int]:
        async with Remote(ok) as remote:
            return await failure(f"http://{host}:{remote.port}/"), len(remote.asked)

    error, hits = asyncio.run(scenario())

    assert error.code in ("address_not_allowed", "bad_url", "cannot_resolve")
    assert hits == 0


@pytest.mark.parametrize("found", [[address] for address in PRIVATE] + [["93.184.216.34", "127.0.0.1"]])
def test_name_is_refused_when_any_of_its_addresses_is_private(found: list[str]) -> None:
    error = asyncio.run(failure("http://evil.example/", outbound=Outbound(NOTHING_ALLOWED, resolve=names(found))))

    assert error.code == "address_not_allowed"
    assert not any(address in error.message for address in found)


def test_rebound_name_is_refused_when_it_is_dialled_again() -> None:
    async def scenario() -> StepError:
        async with Remote(closing) as remote:
            outbound = Outbound(parse_allow(f"127.0.0.1/32:{remote.port}"), resolve=names(["127.0.0.1"], ["127.0.0.2"]))
            async with outbound:
                await outbound.request("GET", f"http://name.example:{remote.port}/")
                with pytest.raises(StepError) as raised:
                    await outbound.request("GET", f"http://name.example:{remote.port}/")
                return raised.value

    assert asyncio.run(scenario()).code == "address_not_allowed"


async def closing(request: web.Request) -> web.StreamResponse:
    return web.Response(text="ok", headers={"Connection": "close"})


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "bad_url"), ("example.com", "bad_url"), ("ftp://example.com/", "bad_url"),
        ("file:///etc/passwd", "bad_url"),
        ("gopher://example.com/", "bad_url"), ("javascript:alert(1)", "bad_url"), ("data:text/plain,a", "bad_url"),
        ("http://user:pw@example.com/", "bad_url"), ("http://93.184.216.34@127.0.0.1/", "bad_url"),
        (r"http://127.0.0.1\@93.184.216.34/", "bad_url"), ("http://", "bad_url"), ("http://:80/", "bad_url"),
        ("http://example.com:0/", "bad_url"), ("http://example.com:65536/", "bad_url"),
        ("http://93.184.216.34:22/", "port_not_allowed"), ("http://93.184.216.34:25/", "port_not_allowed"),
        ("http://93.184.216.34:5432/", "port_not_allowed"), ("http://93.184.216.34:9000/", "port_not_allowed"),
    ],
)  # fmt: skip
def test_url_is_refused_with_its_reason_when_it_breaks_a_rule(url: str, code: str) -> None:
    assert asyncio.run(failure(url)).code == code


@pytest.mark.parametrize("host", ["xn--.test", "a" * 70 + ".test", "no such host", "exa mple.com"])
def test_name_that_cannot_exist_fails_without_a_traceback(host: str) -> None:
    assert asyncio.run(failure(f"http://{host}/")).code in ("cannot_resolve", "bad_url")


def test_name_server_that_hangs_is_given_up() -> None:
    async def hang(host: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    error = asyncio.run(failure("http://slow.example/", outbound=Outbound(NOTHING_ALLOWED, resolve=hang), timeout_s=10))

    assert (error.code, error.external, error.retryable) == ("cannot_resolve", True, True)


@pytest.mark.parametrize(
    ("text", "address", "port", "covered"),
    [
        ("", "10.0.0.1", 80, False), ("10.0.0.0/8", "10.1.2.3", 5432, True),
        ("10.0.0.0/8:8080", "10.1.2.3", 8080, True),
        ("10.0.0.0/8:8080", "10.1.2.3", 80, False), ("127.0.0.1", "127.0.0.1", 80, True),
        ("127.0.0.1", "127.0.0.2", 80, False),
        (" 10.0.0.0/8 , 192.168.0.0/16:81 ", "192.168.3.4", 81, True), ("fd00::/8", "fd00::1", 80, True),
        ("[fd00::/8]:8080", "fd00::1", 8080, True), ("[fd00::/8]:8080", "fd00::1", 80, False),
        ("[fd00::1]/64:8080", "fd00::2", 8080, True), ("10.0.0.5/8", "10.9.9.9", 80, True),
    ],
)  # fmt: skip
def test_outbound_allow_covers_what_it_names(text: str, address: str, port: int, covered: bool) -> None:
    assert parse_allow(text).covers(ipaddress.ip_address(address), port) is covered


@pytest.mark.parametrize(
    "text",
    ["localhost", "10.0.0.0/33", "10.0.0.0/8:0", "10.0.0.0/8:99999", "10.0.0.0/8:http", "[::1", "[::1]x", "a:b:c"],
)
def test_outbound_allow_is_refused_with_the_part_that_is_wrong(text: str) -> None:
    with pytest.raises(ValueError, match="OUTBOUND_ALLOW"):
        parse_allow(text)

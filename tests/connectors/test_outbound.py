"""The guard of outbound traffic, row by row of its table."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web

from connectors.outbound.addresses import is_public, parse_allow
from connectors.outbound.client import Outbound
from connectors.sdk.call import HttpResponse, StepError
from tests.connectors.acting import LOOPBACK, Remote

NOTHING_ALLOWED = parse_allow("")


def run[T](work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def names(*answers: list[str]) -> Callable[[str, int], Coroutine[Any, Any, list[str]]]:
    """Return a name server that gives these answers in turn, the last one for ever."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


async def ok(request: web.Request) -> web.StreamResponse:
    return web.Response(text="ok")


async def failure(url: str, *, outbound: Outbound | None = None, **options: Any) -> StepError:
    async with outbound or Outbound(NOTHING_ALLOWED) as http:
        with pytest.raises(StepError) as raised:
            await http.request("GET", url, **options)
    return raised.value


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

    error, hits = run(scenario())

    assert error.code in ("address_not_allowed", "bad_url", "cannot_resolve")
    assert hits == 0


@pytest.mark.parametrize("found", [[address] for address in PRIVATE] + [["93.184.216.34", "127.0.0.1"]])
def test_name_is_refused_when_any_of_its_addresses_is_private(found: list[str]) -> None:
    error = run(failure("http://evil.example/", outbound=Outbound(NOTHING_ALLOWED, resolve=names(found))))

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

    assert run(scenario()).code == "address_not_allowed"


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
    assert run(failure(url)).code == code


@pytest.mark.parametrize("host", ["xn--.test", "a" * 70 + ".test", "no such host", "exa mple.com"])
def test_name_that_cannot_exist_fails_without_a_traceback(host: str) -> None:
    assert run(failure(f"http://{host}/")).code in ("cannot_resolve", "bad_url")


def test_name_server_that_hangs_is_given_up() -> None:
    async def hang(host: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    error = run(failure("http://slow.example/", outbound=Outbound(NOTHING_ALLOWED, resolve=hang), timeout_s=10))

    assert (error.code, error.outside, error.retryable) == ("cannot_resolve", True, True)


def redirecting(target: str, status: int = 302) -> Callable[[web.Request], Coroutine[Any, Any, web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return (
            web.Response(text="end")
            if request.path == "/end"
            else web.Response(status=status, headers={"Location": target})
        )

    return answer


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("http://127.0.0.2:{port}/", "address_not_allowed"), ("http://169.254.169.254/latest/", "address_not_allowed"),
        ("http://[::1]:{port}/", "address_not_allowed"), ("http://localhost:1/", "address_not_allowed"),
        ("file:///etc/passwd", "bad_url"), ("http://user@127.0.0.1:{port}/", "bad_url"),
        ("/again", "too_many_redirects"),
    ],
)  # fmt: skip
def test_redirect_is_refused_when_its_target_is(target: str, code: str) -> None:
    async def scenario() -> StepError:
        async with Remote(ok) as remote:
            remote.answer = redirecting(target.format(port=remote.port))
            only = Outbound(parse_allow(f"127.0.0.1/32:{remote.port}"))
            return await failure(remote.url, outbound=only)

    assert run(scenario()).code == code


async def redirected(status: int, *, elsewhere: bool) -> tuple[HttpResponse, Remote]:
    async with Remote(ok) as remote, Remote(ok) as other, Outbound(LOOPBACK) as http:
        target = other if elsewhere else remote
        remote.answer = redirecting(f"{target.url}end", status)
        headers = {"Authorization": "Bearer s3cret", "Cookie": "a=1", "X-Api-Key": "s3cret", "Accept": "a/b"}
        answer = await http.request("POST", remote.url, headers=headers, body=b"x")
        return answer, target


@pytest.mark.parametrize(("elsewhere", "kept"), [(True, False), (False, True)])
def test_credentials_are_dropped_when_a_redirect_changes_the_origin(elsewhere: bool, kept: bool) -> None:
    _, target = run(redirected(307, elsewhere=elsewhere))

    headers = target.asked[-1][0].headers
    assert [name in headers for name in ("Authorization", "Cookie", "X-Api-Key")] == [kept] * 3
    assert headers["Accept"] == "a/b"


@pytest.mark.parametrize(("status", "method", "body"), [(301, "GET", b""), (303, "GET", b""), (307, "POST", b"x")])
def test_redirect_keeps_or_drops_the_body_as_its_status_says(status: int, method: str, body: bytes) -> None:
    _, target = run(redirected(status, elsewhere=False))

    assert (target.asked[-1][0].method, target.asked[-1][1]) == (method, body)


def test_redirect_is_returned_when_not_followed() -> None:
    async def scenario() -> HttpResponse:
        async with Remote(redirecting("http://10.0.0.1/")) as remote, Outbound(LOOPBACK) as http:
            return await http.request("GET", remote.url, follow_redirects=False)

    assert run(scenario()).status == 302


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65_536)


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(0.05)


async def compressed(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})


async def cut_short(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize(
    ("answer", "code"),
    [(endless, "too_large"), (dripping, "timeout"), (compressed, "bad_response"), (cut_short, "bad_response")],
)
def test_hostile_answer_fails_within_the_deadline(answer: Any, code: str) -> None:
    async def scenario() -> StepError:
        async with Remote(answer) as remote:
            return await failure(remote.url, outbound=Outbound(LOOPBACK, size_limit=1_000_000), timeout_s=1)

    started = time.monotonic()
    error = run(scenario())

    assert (error.code, error.outside) == (code, True)
    assert time.monotonic() - started < 3


def test_header_bytes_that_drip_end_at_the_deadline() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for byte in b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 1000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass

    async def scenario() -> StepError:
        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        error = await failure(f"http://127.0.0.1:{port}/", outbound=Outbound(LOOPBACK), timeout_s=0.5)
        server.close()
        return error

    assert run(scenario()).code == "timeout"


def test_nobody_listening_is_an_outside_cause_that_may_pass() -> None:
    async def scenario() -> StepError:
        async with Remote(ok) as remote:
            url = remote.url
        return await failure(url, outbound=Outbound(LOOPBACK))

    error = run(scenario())

    assert (error.code, error.outside, error.retryable) == ("cannot_connect", True, True)


def test_plain_answer_to_a_tls_call_is_a_tls_error() -> None:
    async def scenario() -> StepError:
        async with Remote(ok) as remote:
            return await failure(remote.url.replace("http", "https"), outbound=Outbound(LOOPBACK))

    assert run(scenario()).code == "tls_error"


@pytest.mark.parametrize("value", ["s3cret\r\nX-Evil: 1", "s3cret\0"])
def test_header_that_would_break_out_is_refused_without_quoting_it(value: str) -> None:
    async def scenario() -> StepError:
        async with Remote(ok) as remote:
            return await failure(remote.url, outbound=Outbound(LOOPBACK), headers={"X-A": value})

    error = run(scenario())

    assert error.code == "bad_request"
    assert "s3cret" not in error.message


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def scenario() -> HttpResponse:
        async with Remote(ok) as remote, Outbound(LOOPBACK) as http:
            return await http.request("GET", remote.url)

    assert run(scenario()).body == b"ok"


def test_one_guard_serves_one_loop_after_another() -> None:
    outbound = Outbound(LOOPBACK)

    async def scenario() -> int:
        async with Remote(ok) as remote:
            answer = await outbound.request("GET", remote.url)
            await outbound.close()
            return answer.status

    assert [run(scenario()), run(scenario())] == [200, 200]


def test_thousand_calls_of_200_ms_run_beside_one_another() -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.2)
        return web.Response(text="ok")

    async def scenario() -> float:
        async with Remote(slow) as remote, Outbound(LOOPBACK) as http:
            started = time.monotonic()
            await asyncio.gather(*(http.request("GET", remote.url) for _ in range(1000)))
            return time.monotonic() - started

    assert run(scenario()) < 5


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

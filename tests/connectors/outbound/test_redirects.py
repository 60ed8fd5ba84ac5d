"""Redirects are guarded like the first call, and carry no credentials elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from connectors.outbound.addresses import parse_allow
from connectors.outbound.client import Outbound, _is_same_place
from connectors.sdk.call import HttpResponse, StepError
from tests.support.acting import LOOPBACK, Remote, failure, ok


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

    assert asyncio.run(scenario()).code == code


async def redirected(status: int, *, elsewhere: bool, body: bytes | None = b"x") -> tuple[HttpResponse, Remote]:
    async with Remote(ok) as remote, Remote(ok) as other, Outbound(LOOPBACK) as http:
        target = other if elsewhere else remote
        remote.answer = redirecting(f"{target.url}end", status)
        headers = {"Authorization": "Bearer s3cret", "Cookie": "a=1", "X-Api-Key": "s3cret", "Accept": "a/b"}
        answer = await http.request("POST", remote.url, headers=headers, body=body)
        return answer, target


@pytest.mark.parametrize(("elsewhere", "kept"), [(True, False), (False, True)])
def test_credentials_are_dropped_when_a_redirect_changes_the_origin(elsewhere: bool, kept: bool) -> None:
    _, target = asyncio.run(redirected(307, elsewhere=elsewhere, body=None))

    headers = target.asked[-1][0].headers
    assert [name in headers for name in ("Authorization", "Cookie", "X-Api-Key")] == [kept] * 3
    assert headers["Accept"] == "a/b"


@pytest.mark.parametrize(("status", "method", "body"), [(301, "GET", b""), (303, "GET", b""), (307, "POST", b"x")])
def test_redirect_keeps_or_drops_the_body_as_its_status_says(status: int, method: str, body: bytes) -> None:
    _, target = asyncio.run(redirected(status, elsewhere=False))

    assert (target.asked[-1][0].method, target.asked[-1][1]) == (method, body)


@pytest.mark.parametrize("status", [307, 308])
def test_a_body_goes_to_no_other_origin(status: int) -> None:
    async def scenario() -> tuple[StepError, Remote]:
        async with Remote(ok) as remote, Remote(ok) as other, Outbound(LOOPBACK) as http:
            remote.answer = redirecting(other.url, status)
            with pytest.raises(StepError) as raised:
                await http.request("PUT", remote.url, body=b'{"card": "4711"}')
            return raised.value, other

    error, other = asyncio.run(scenario())

    assert error.code == "redirect_elsewhere" and "redirected the request to 127.0.0.1" in str(error)
    assert other.asked == []


@pytest.mark.parametrize(
    ("start", "end", "same"),
    [
        ("http://a.example/x", "https://a.example/y", True), ("http://a.example:80/", "https://a.example:443/", True),
        ("https://a.example/", "http://a.example/", False), ("http://a.example/", "https://a.example:8443/", False),
        ("http://a.example:8080/", "https://a.example/", False), ("http://a.example/", "https://b.example/", False),
        ("https://a.example/", "https://A.EXAMPLE/y", True), ("https://a.example/", "https://a.example.evil/", False),
    ],
)  # fmt: skip
def test_only_the_way_to_tls_is_the_same_place(start: str, end: str, same: bool) -> None:
    assert _is_same_place(URL(start), URL(end)) is same


def test_redirect_is_returned_when_not_followed() -> None:
    async def scenario() -> HttpResponse:
        async with Remote(redirecting("http://10.0.0.1/")) as remote, Outbound(LOOPBACK) as http:
            return await http.request("GET", remote.url, follow_redirects=False)

    assert asyncio.run(scenario()).status == 302

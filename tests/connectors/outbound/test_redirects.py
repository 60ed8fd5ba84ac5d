"""Redirects are guarded like the first call, and carry no credentials elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web

from connectors.outbound.addresses import parse_allow
from connectors.outbound.client import Outbound
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


async def redirected(status: int, *, elsewhere: bool) -> tuple[HttpResponse, Remote]:
    async with Remote(ok) as remote, Remote(ok) as other, Outbound(LOOPBACK) as http:
        target = other if elsewhere else remote
        remote.answer = redirecting(f"{target.url}end", status)
        headers = {"Authorization": "Bearer s3cret", "Cookie": "a=1", "X-Api-Key": "s3cret", "Accept": "a/b"}
        answer = await http.request("POST", remote.url, headers=headers, body=b"x")
        return answer, target


@pytest.mark.parametrize(("elsewhere", "kept"), [(True, False), (False, True)])
def test_credentials_are_dropped_when_a_redirect_changes_the_origin(elsewhere: bool, kept: bool) -> None:
    _, target = asyncio.run(redirected(307, elsewhere=elsewhere))

    headers = target.asked[-1][0].headers
    assert [name in headers for name in ("Authorization", "Cookie", "X-Api-Key")] == [kept] * 3
    assert headers["Accept"] == "a/b"


@pytest.mark.parametrize(("status", "method", "body"), [(301, "GET", b""), (303, "GET", b""), (307, "POST", b"x")])
def test_redirect_keeps_or_drops_the_body_as_its_status_says(status: int, method: str, body: bytes) -> None:
    _, target = asyncio.run(redirected(status, elsewhere=False))

    assert (target.asked[-1][0].method, target.asked[-1][1]) == (method, body)


def test_redirect_is_returned_when_not_followed() -> None:
    async def scenario() -> HttpResponse:
        async with Remote(redirecting("http://10.0.0.1/")) as remote, Outbound(LOOPBACK) as http:
            return await http.request("GET", remote.url, follow_redirects=False)

    assert asyncio.run(scenario()).status == 302

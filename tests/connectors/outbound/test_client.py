"""Calls to servers that fail, stall or flood, and many calls at once."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp import web

from connectors.outbound.client import Outbound
from connectors.sdk.call import HttpResponse, StepError
from tests.support.acting import LOOPBACK, Remote, failure, ok


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
    error = asyncio.run(scenario())

    assert (error.code, error.external) == (code, True)
    assert time.monotonic() - started < 10


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

    assert asyncio.run(scenario()).code == "timeout"


def test_nobody_listening_is_an_outside_cause_that_may_pass() -> None:
    async def scenario() -> StepError:
        async with Remote(ok) as remote:
            url = remote.url
        return await failure(url, outbound=Outbound(LOOPBACK))

    error = asyncio.run(scenario())

    assert (error.code, error.external, error.retryable) == ("cannot_connect", True, True)


def test_plain_answer_to_a_tls_call_is_a_tls_error() -> None:
    async def scenario() -> StepError:
        async with Remote(ok) as remote:
            return await failure(remote.url.replace("http", "https"), outbound=Outbound(LOOPBACK))

    assert asyncio.run(scenario()).code == "tls_error"


@pytest.mark.parametrize("value", ["s3cret\r\nX-Evil: 1", "s3cret\0"])
def test_header_that_would_break_out_is_refused_without_quoting_it(value: str) -> None:
    async def scenario() -> StepError:
        async with Remote(ok) as remote:
            return await failure(remote.url, outbound=Outbound(LOOPBACK), headers={"X-A": value})

    error = asyncio.run(scenario())

    assert error.code == "bad_request"
    assert "s3cret" not in error.message


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def scenario() -> HttpResponse:
        async with Remote(ok) as remote, Outbound(LOOPBACK) as http:
            return await http.request("GET", remote.url)

    assert asyncio.run(scenario()).body == b"ok"


def test_one_guard_serves_one_loop_after_another() -> None:
    outbound = Outbound(LOOPBACK)

    async def scenario() -> int:
        async with Remote(ok) as remote:
            answer = await outbound.request("GET", remote.url)
            await outbound.close()
            return answer.status

    assert [asyncio.run(scenario()), asyncio.run(scenario())] == [200, 200]


def test_thousand_calls_are_under_way_at_once() -> None:
    all_there = asyncio.Event()

    async def wait_for_all(request: web.Request) -> web.StreamResponse:
        if len(remote.asked) == 1000:
            all_there.set()
        await all_there.wait()
        return web.Response(text="ok")

    remote = Remote(wait_for_all)

    async def scenario() -> list[HttpResponse]:
        async with remote, Outbound(LOOPBACK) as http:
            return await asyncio.gather(*(http.request("GET", remote.url) for _ in range(1000)))

    assert {answer.status for answer in asyncio.run(scenario())} == {200}


@contextmanager
def no_more_files() -> Iterator[None]:
    """Let this process open no further file within the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_call_waits_for_an_open_file_and_loses_no_time_by_it() -> None:
    async def scenario() -> HttpResponse:
        async with Remote(ok) as remote, Outbound(LOOPBACK) as outbound:
            with no_more_files():
                calling = asyncio.create_task(outbound.of("org").request("GET", remote.url, timeout_s=1))
                await asyncio.wait([calling], timeout=1.5)  # longer than its own time
                assert not calling.done()
            return await calling

    assert asyncio.run(scenario()).status == 200

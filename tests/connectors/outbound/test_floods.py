"""Servers that send without end: the call fails with its sentence, and the loop stays free for others meanwhile."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from connectors.outbound.client import Outbound
from connectors.sdk.call import HttpResponse, StepError
from tests.support.acting import LOOPBACK, failure

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
MOST = 64 * 1024 * 1024  # bytes of one flood
STAND_STILL_S = 0.1  # of the thread's own computing between two rounds of the loop; the floods took 0.3 s and more

FLOODS = {
    "interim answers": (b"", EARLY * 3000, "bad_response", "interim answers"),
    "interim answers with fields": (b"", b"HTTP/1.1 100 Continue\r\na: b\r\n\r\n" * 3000, "bad_response", "interim"),
    "headers of interim answers": (b"", b"HTTP/1.1 103 E\r\na: " + b"b" * 15_000 + b"\r\n\r\n", "too_large", "256"),
    "switching protocols": (b"", SWITCH, "bad_response", "switched"),
    "headers": (OK, b"X-More: yes\r\n" * 3000, "bad_response", "not valid HTTP"),
    "long headers": (OK, b"X-More: " + b"y" * 15_000 + b"\r\n", "too_large", "256 KB"),
    "status line": (b"HTTP/1.1 200 ", b"O" * 65_536, "bad_response", "not valid HTTP"),
    "header name": (OK, b"n" * 65_536, "bad_response", "not valid HTTP"),
    "empty lines": (b"", b"\r\n" * 30_000, "too_large", "256 KB"),
    "chunks of one byte": (CHUNKED, b"1\r\nx\r\n" * 10_000, "bad_response", "wrapped"),
    "chunk extensions": (CHUNKED, b"1;" + b"e" * 65_536 + b"\r\nx\r\n", "bad_response", "wrapped"),
    "one chunk extension": (CHUNKED + b"1;", b"e" * 65_536, "bad_response", "wrapped"),
    "chunk size": (CHUNKED, b"0" * 65_536, "bad_response", ""),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\n", b"X-More: yes\r\n" * 3000, "bad_response", "not valid HTTP"),
    "bad chunk": (CHUNKED + b"1\r\nx\r\n", b"no chunk\r\n", "bad_response", "not valid HTTP"),
    "body": (OK + b"Content-Length: 99999999999\r\n\r\n", b"z" * 65_536, "too_large", "10 MB"),
    "body until the end": (OK + b"\r\n", b"z" * 65_536, "too_large", "10 MB"),
}  # fmt: skip


@contextmanager
def server(first: bytes, again: bytes = b"", *, most: int = MOST) -> Iterator[str]:
    """Send `first` to everyone who asks, then `again` as fast as it is read; in threads, not on the loop under test."""

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while connection.recv(65_536):
                connection.sendall(first)
                for _ in range(most // len(again) if again else 0):
                    connection.sendall(again)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        listening.shutdown(socket.SHUT_RDWR)


async def longest_stand_still() -> float:
    """Return, once cancelled, the most seconds that this thread computed between two rounds of the loop."""
    longest = 0.0
    with suppress(asyncio.CancelledError):
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - before)
    return longest


@pytest.mark.parametrize("kind", FLOODS)
def test_flood_fails_with_its_sentence_and_leaves_the_loop_free(kind: str) -> None:
    first, again, code, words = FLOODS[kind]

    async def scenario(url: str) -> tuple[StepError, float]:
        watch = asyncio.create_task(longest_stand_still())
        await asyncio.sleep(0)
        error = await failure(url, outbound=Outbound(LOOPBACK), timeout_s=20)
        watch.cancel()
        return error, await watch

    with server(first, again) as url:
        error, longest = asyncio.run(scenario(url))

    assert (error.code, error.external) == (code, True)
    assert words in error.message
    assert longest < STAND_STILL_S


async def get(outbound: Outbound, url: str) -> HttpResponse:
    return await outbound.request("GET", url, timeout_s=20)


def test_large_answers_at_full_speed_share_each_round_of_the_loop() -> None:
    body = bytes(range(256)) * 4096 * 4

    async def scenario(url: str) -> tuple[list[HttpResponse], float]:
        watch = asyncio.create_task(longest_stand_still())
        async with Outbound(LOOPBACK) as outbound:
            answers = await asyncio.gather(*(get(outbound, url) for _ in range(20)))
        watch.cancel()
        return answers, await watch

    with server(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body) as url:
        answers, longest = asyncio.run(scenario(url))

    assert all(answer.body == body for answer in answers)
    assert longest < STAND_STILL_S


@pytest.mark.parametrize(
    "more", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno" * 3000, b"HTTP/1.1 204 Nothing\r\n\r\n" * 3000]
)
def test_what_follows_an_answer_is_nobodys_answer(more: bytes) -> None:
    async def scenario(url: str) -> list[HttpResponse]:
        async with Outbound(LOOPBACK) as outbound:
            return [await get(outbound, url) for _ in range(3)]

    with server(OK + b"Content-Length: 3\r\n\r\nyes", more * 3000) as url:
        answers = asyncio.run(scenario(url))

    assert [answer.body for answer in answers] == [b"yes"] * 3


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (EARLY * 20 + OK + b"Content-Length: 2\r\n\r\nok", b"ok"),
        (CHUNKED + b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n", b"x" * 50_000),
        (CHUNKED + b"100000\r\n" + b"x" * 0x100000 + b"\r\n0\r\nX-Trailer: 1\r\n\r\n", b"x" * 0x100000),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
def test_usual_answers_come_whole_and_their_connection_is_used_again(sent: bytes, body: bytes) -> None:
    async def scenario(url: str) -> list[bytes]:
        async with Outbound(LOOPBACK) as outbound:
            return [(await get(outbound, url)).body for _ in range(2)]

    with server(sent) as url:
        assert asyncio.run(scenario(url)) == [body, body]


def test_large_answer_that_ends_with_its_connection_comes_whole() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"\r\n" + b"x" * 3_000_000)
        writer.close()

    async def scenario() -> HttpResponse:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening, Outbound(LOOPBACK) as outbound:
            return await get(outbound, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/")

    assert len(asyncio.run(scenario()).body) == 3_000_000

"""The server of the hostile organization: every bad answer that a call can get, by path."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from chaos.hostile import payloads

HOME = "127.0.0.1"
SLOW_S = 50.0  # seconds: less than the step's time limit
DRIP_S = 0.5
HEAD_LIMIT = 1 << 17
STREAM_LIMIT = 256 << 20  # bytes of one endless answer

type Answer = Callable[[asyncio.StreamWriter, dict[str, str]], Awaitable[None]]


class Remote:
    """The server within the block; `loot` names the paths at which the needle came in the clear."""

    def __init__(self, port: int, needle: str) -> None:
        self.port = port
        self.needle = needle.encode()
        self.loot: list[str] = []

    async def __aenter__(self) -> Remote:
        await asyncio.start_server(self._serve, HOME, self.port, backlog=4096, limit=HEAD_LIMIT)
        self.held = _full_queue()
        self.hole = f"http://{HOME}:{self.held[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, at: TracebackType | None) -> None:
        for held in self.held:
            held.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            target = urlsplit(head.split(b" ", 2)[1].decode("latin-1"))
            if self.needle in head:
                self.loot.append(target.path)
            given = {name: values[0] for name, values in parse_qs(target.query).items()}
            await ANSWERS[target.path.strip("/")](writer, given)
            await writer.drain()
        writer.close()


def _full_queue() -> list[socket.socket]:
    """Return a listening socket whose queue is full, so that further connections hang, and those that fill it."""
    listening = socket.socket()
    listening.bind((HOME, 0))
    listening.listen(0)
    held = [listening]
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listening.getsockname())
        held.append(one)
    return held


def whole(head: str, body: bytes = b"") -> Answer:
    """Return an answer that is sent at once; `head` is its headers but for the length."""
    text = f"HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode("latin-1") + body

    async def answer(writer: asyncio.StreamWriter, _: dict[str, str]) -> None:
        writer.write(text)

    return answer


def endless(head: bytes, part: bytes, *, every_s: float = 0.0, times: int = STREAM_LIMIT) -> Answer:
    """Return an answer that sends the same part again and again."""

    async def answer(writer: asyncio.StreamWriter, _: dict[str, str]) -> None:
        writer.write(head)
        for _turn in range(min(times, STREAM_LIMIT // len(part))):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(every_s)

    return answer


async def charset(writer: asyncio.StreamWriter, given: dict[str, str]) -> None:
    await whole(f"Content-Type: text/plain; charset={given['name']}", payloads.CODED)(writer, given)


async def echo(writer: asyncio.StreamWriter, given: dict[str, str]) -> None:
    await whole("Content-Type: application/json", json.dumps({"text": given.get("text", "")}).encode())(writer, given)


async def slow(writer: asyncio.StreamWriter, given: dict[str, str]) -> None:
    await asyncio.sleep(float(given.get("s", SLOW_S)))
    await whole("Content-Type: application/json", b"{}")(writer, given)


async def silence(writer: asyncio.StreamWriter, _: dict[str, str]) -> None:
    await asyncio.sleep(SLOW_S)


async def away(writer: asyncio.StreamWriter, given: dict[str, str]) -> None:
    """Redirect to itself; each time at another address, so that no cache ends it."""
    turn = int(given.get("turn", "0")) + 1
    writer.write(f"HTTP/1.1 302 Found\r\nLocation: /loop?turn={turn}\r\nContent-Length: 0\r\n\r\n".encode())


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
JSON = "Content-Type: application/json"
ANSWERS: dict[str, Answer] = {
    "charset": charset,
    "echo": echo,
    "slow": slow,
    "loop": away,
    "deep": whole(JSON, payloads.nested(1000)),
    "very-deep": whole(JSON, payloads.nested(100_000)),
    "digits": whole(JSON, b"1" * 1_000_000),
    "objects": whole(JSON, payloads.OBJECTS),
    "numbers": whole(JSON, payloads.NUMBERS),
    "keys": whole(JSON, payloads.KEYS),
    "escapes": whole(JSON, payloads.ESCAPES),
    "brackets": whole("Content-Type: text/html", b"<" * 900_000),
    "gzip": whole("Content-Type: text/plain\r\nContent-Encoding: gzip", payloads.BOMB),
    "gzip-twice": whole("Content-Type: text/plain\r\nContent-Encoding: gzip, gzip", payloads.BOMB_TWICE),
    "drip": endless(OK + b"Content-Length: 9000000\r\n\r\n", b".", every_s=DRIP_S),
    "drip-head": endless(b"HTTP/1.1 200 OK\r\n", b"x", every_s=DRIP_S),
    "drip-status": endless(b"HTTP", b"/", every_s=DRIP_S),
    "headers": endless(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"y" * 4000 + b"\r\n"),
    "short-headers": endless(b"HTTP/1.1 200 OK\r\n", b"a:b\r\n" * 2000),
    "informational": endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 500),
    "huge": endless(OK + b"Content-Length: 99999999999\r\n\r\n", b"z" * 65536),
    "chunks": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 8000),
    "chunk-extensions": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * 4000 + b"\r\nx\r\n"),
    "cookies": endless(OK, b"Set-Cookie: c=" + b"d" * 3000 + b"\r\n", times=200),
    "cut": endless(OK + b"Content-Length: 5000\r\n\r\n", b"half", times=1),
    "garbage": endless(b"", b"\x00\xff\x01 not http \r\n\r\n", times=3),
    "silence": silence,
}  # fmt: skip

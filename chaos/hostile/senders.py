"""Callers who wait, senders who send slowly or nothing, and floods of what is refused."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

from chaos.hostile.attack import JSON, Attack, Design, Field, reply, together, wait

CALLERS = 300
SILENT = 150  # of each kind
DRIP_S = 1.0
LASTING_S = 15.0
LOGINS = 20
FLOOD = 200  # requests of a round
AT_ONCE = 20

WAITING = {"waits and replies": Design([wait(1, "hours"), reply("late")])}
OPEN = {"takes anything": Design([reply("x")])}


async def call(field: Field) -> None:
    """Let hundreds of callers wait; a third of them repeat one delivery."""
    keys = [{"Idempotency_Key": "the-same"} if turn % 3 == 0 else {} for turn in range(CALLERS)]
    await together(*(field.post("waits and replies", b"{}", within=60.0, **key) for key in keys))


async def keep_silent(field: Field) -> None:
    path = field.path("takes anything")
    head = field.door.request("POST", path, {"Content-Type": JSON, "Content-Length": "100000"})
    chunked = field.door.request("POST", path, {"Content-Type": JSON, "Transfer-Encoding": "chunked"})
    unfinished = field.door.request("POST", path)[:-2]
    page = field.door.request("GET", field.page("executions/"), {"Cookie": await field.session()})
    dripping: list[tuple[bytes, bytes]] = [
        (head + b"{", b""), (head, b" "), (chunked.replace(b"Content-Length: 0\r\n", b""), b"1\r\n \r\n"),
        (unfinished, b"X-More: 1\r\n"), (b"", b""), (page[:-2], b"X"), (b"POST " + b"/" * 10, b"/"),
    ]  # fmt: skip
    await together(*(_drip(field, first, more) for first, more in dripping for _ in range(SILENT)))


async def sign_in_silently(field: Field) -> None:
    """Hold sign-ins whose forms never end; with the cookie against forgery, or the form would not be read."""
    headers = {
        "Content-Type": "application/x-www-form-urlencoded", "Content-Length": "1000", "Cookie": field.door.csrf_cookie,
    }  # fmt: skip
    head = field.door.request("POST", "/login/", headers)
    await together(*(_drip(field, head + b"u", b"") for _ in range(SILENT)))


async def _drip(field: Field, first: bytes, more: bytes) -> None:
    """Send the first bytes, then some more every second, and read nothing."""
    _, writer = await field.door.connect()
    try:
        with suppress(OSError):
            writer.write(first)
            while not writer.is_closing():
                await asyncio.sleep(DRIP_S)
                writer.write(more)
    finally:
        writer.transport.abort()


async def guess(field: Field) -> None:
    """Try passwords of another organization's user, of nobody, and of a very long name."""
    names = [field.victim, secrets.token_hex(8), "u" * 4000]
    await together(
        *(field.door.sign_in(names[turn % len(names)], secrets.token_hex(4), within=20.0) for turn in range(LOGINS)),
    )


def flood(request: Callable[[Field, int], bytes], at_once: int = AT_ONCE) -> Callable[[Field], Awaitable[None]]:
    async def strike(field: Field) -> None:
        await together(
            *(field.door.send(request(field, turn), within=20.0) for turn in range(FLOOD)), at_once=at_once
        )  # fmt: skip

    return strike


def unknown(field: Field, turn: int) -> bytes:
    return field.door.request("POST", f"/automations-api/run/{secrets.token_hex(16)}", {"Content-Type": JSON}, b"{}")


BAD = (
    b"{" * 60_000, b"[" * 100_000, b'{"a":' * 5000, b'{"a":1e400}', b"1" * 5000, b"\xff\xfe{}", b'"\\ud800"', b"NaN",
    b'{"k":0}x', b"", json.dumps({str(key): 0 for key in range(20_000)}).encode(), b'{"a":"\\u0000"}',
    b'"' + b"\\u0061" * 400_000 + b'"', b"a=1&" * 50_000,
)  # fmt: skip
HEADERS: tuple[dict[str, str], ...] = (
    {}, {"Idempotency-Key": "k" * 10_000}, {"Idempotency-Key": "the-same"}, {"X-Forwarded-For": "127.0.0.1"},
    {"Host": "evil.example.com"}, {"Content-Encoding": "gzip"}, {"Transfer-Encoding": "chunked"},
    {"Content-Length": "99999999999"}, {"Content-Length": "-1"}, {"X-Long": "l" * 15_000}, {"Expect": "100-continue"},
    {"Content-Type": "application/json; charset=punycode"}, {"Content-Type": "multipart/form-data; boundary=b"},
)  # fmt: skip


def bad(field: Field, turn: int) -> bytes:
    headers = {"Content-Type": JSON} | HEADERS[turn // len(BAD) % len(HEADERS)]
    return field.door.request("POST", field.path("takes anything"), headers, BAD[turn % len(BAD)])


def too_large(field: Field, turn: int) -> bytes:
    return field.door.request("POST", field.path("takes anything"), {"Content-Type": JSON}, LARGE)


LARGE = b'"' + b"x" * 3_400_000 + b'"'

ATTACKS = (
    Attack("waiting callers", call, WAITING, least_s=LASTING_S),
    Attack("silent senders", keep_silent, OPEN, least_s=LASTING_S),
    Attack("silent sign-ins", sign_in_silently, least_s=LASTING_S),
    Attack("wrong passwords", guess),
    Attack("unknown trigger URLs", flood(unknown)),
    Attack("bad bodies", flood(bad), OPEN),
    Attack("bodies too large", flood(too_large, at_once=4), OPEN),
)

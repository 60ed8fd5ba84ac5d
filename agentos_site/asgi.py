"""The web server's application (ASGI): trigger URLs and probes in the event loop, pages in threads beside it.

A prototype ahead of Django stored 4,200 to 4,900 requests a second on two cores, one behind it about 1,000.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import uuid_utils
from django.conf import settings

from agentos_site import port
from agentos_site.pages import PageAnswer, page, places, poll, probe  # imported first: it sets Django up
from agentos_site.web import connections
from executions.engine import memory
from executions.intake import trigger_url
from executions.intake.answers import WITHOUT_BODY, Answer, refusal, server_full
from executions.intake.body import Busy, Refused
from executions.intake.client import client_address, owner_of
from executions.intake.message import Message
from executions.intake.reading import Held, Receive, bodies, read_body
from executions.intake.replies import replies
from executions.intake.shares import Shares
from projects import quiet

type Scope = Mapping[str, Any]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HEALTH = "/healthz"
PROBES = frozenset(("/readyz", "/metrics"))
# Supervisors and Prometheus ask these pages by the machine's address, which ALLOWED_HOSTS need not list.
KNOWN_HOST = urlsplit(settings.BASE_URL).netloc.encode()
MACHINES = (trigger_url.PREFIX, "/v1/")  # what gets refusals as JSON
KEPT_CONNECTIONS = 100  # the last ones are for requests that end at once: the health page, and refusals
# Seconds after which Python takes the GIL from a page's thread and gives it to the event loop, or to the thread that
# commits, which needs it after each answer of the database: Python's own 5 ms are longer than a whole commit.
GIL_TURN_S = 0.001
PIECE = 64 * 1024  # bytes of an answer that are handed to the web server at once
SEND_S = 60.0  # seconds that a client has to take an answer of several pieces
# Seconds after SIGTERM in which bodies and replies may still come: less than the web server has to end (web.STOP_S).
GRACE_S = 8.0
LEAVE_S = 0.5  # seconds after SIGTERM until the port is free: granian must have stopped to take connections by then
FIRST_LOOK_S = 1.0  # seconds that the start waits for the answer whether the data is a copy
# Of the answers of trigger URLs; a reply never has the powers of the builder's origin.
SAFE = [(b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"sandbox")]


@cache
def open_requests() -> Shares:
    """Return the requests that are being answered; all have one owner."""
    return Shares(max(1, connections() - KEPT_CONNECTIONS))


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    message = Message(method=scope["method"], path=scope["path"], query=scope["query_string"], headers=scope["headers"])
    if message.path == HEALTH:
        await send_answer(send, message, *healthy(message))
    elif not open_requests().take(None):
        await send_answer(send, message, *refused(message, server_full()))
    else:
        try:
            await serve(scope, message, receive, send)
        finally:
            open_requests().give_back(None)


async def serve(scope: Scope, message: Message, receive: Receive, send: Send) -> None:
    forwarded = message.headers.get(b"x-forwarded-for", b"")
    address = client_address(scope["client"][0], forwarded, settings.TRUSTED_PROXIES)
    if message.path.startswith(trigger_url.PREFIX):
        if given := await trigger_url.answer(message, receive, owner_of(address)):
            await send_answer(send, message, *answered(given))
    elif message.path in PROBES:
        message.headers[b"host"] = KNOWN_HOST
        await send_answer(send, message, *await probe(scope, message, address))
    else:
        await serve_page(scope, message, receive, send, address)


async def serve_page(scope: Scope, message: Message, receive: Receive, send: Send, address: str) -> None:
    """Answer with a page: read the body first, then take one of the address's places until the answer is sent."""
    owner = owner_of(address)
    held = Held(bodies(), owner)
    try:
        body = await read_body(receive, message, held, limit=settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        if not places().take(owner):
            raise Busy(503, "too_many_pages", "This address asks for too many pages at once. Try again.")
        try:
            given = await poll(message, address) or await page(scope, message, body, receive, address)
            await send_answer(send, message, *given)
        finally:
            places().give_back(owner)
    except Refused as refusal:
        await send_answer(send, message, *refused(message, refusal))
    finally:
        held.close()


def healthy(message: Message) -> PageAnswer:
    """Answer 200 while the event loop turns, without a look at the database: a restart would not bring that back."""
    if message.method not in ("GET", "HEAD"):
        return PageAnswer(405, [(b"allow", b"GET, HEAD")], b"")
    return PageAnswer(200, [(b"content-type", b"application/json"), *SAFE], b'{"status": "ok"}')


def refused(message: Message, why: Refused) -> PageAnswer:
    """Return a refusal: as text for people, as JSON for machines."""
    if message.path.startswith(MACHINES):
        return answered(refusal(why, uuid_utils.uuid7().hex))
    given = [(name.lower().encode(), value.encode()) for name, value in why.headers]
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *SAFE, *given]
    return PageAnswer(why.status, headers, f"{why.message}\n".encode())


def answered(answer: Answer) -> PageAnswer:
    given = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    headers = [(b"content-type", answer.content_type.encode("latin-1")), *SAFE, *given]
    return PageAnswer(answer.status, headers, answer.body)


async def send_answer(
    send: Send, message: Message, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    """Send an answer; a large one in pieces, which end with the connection when the client takes too long."""
    if not any(name == b"content-length" for name, _ in headers) and status not in WITHOUT_BODY:
        headers.append((b"content-length", str(len(body)).encode()))
    if b"transfer-encoding" in message.headers:
        # HTTP asks for it after a request with Content-Length too, which the web server hides: what follows could be
        # the rest of this request or the next one.
        headers.append((b"connection", b"close"))
    if message.method == "HEAD":
        body = b""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    try:
        async with asyncio.timeout(SEND_S if len(body) > PIECE else None):
            for start in range(0, len(body) - PIECE, PIECE):
                await send({"type": "http.response.body", "body": body[start : start + PIECE], "more_body": True})
            await send({"type": "http.response.body", "body": body[(len(body) - 1) // PIECE * PIECE :]})
    except TimeoutError:
        return


async def live(receive: Receive, send: Send) -> None:
    """Live from the start of the web server to its end, whose first signal also ends what would wait for longer."""
    await receive()
    port.take_over()
    sys.setswitchinterval(GIL_TURN_S)
    memory.bound_arenas()
    memory.keep_small()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop, loop)
    watch = quiet.Watch()
    watch.start()
    await asyncio.to_thread(watch.has_looked.wait, FIRST_LOOK_S)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def stop(loop: asyncio.AbstractEventLoop) -> None:
    """Let granian end as on SIGINT, and GRACE_S later tell all who still wait that the server stops."""
    loop.call_later(GRACE_S, bodies().end)
    loop.call_later(GRACE_S, replies().end)
    signal.raise_signal(signal.SIGINT)
    loop.call_later(LEAVE_S, port.leave)

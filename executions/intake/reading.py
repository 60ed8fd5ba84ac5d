"""Read a request's body in the event loop: whole or not at all, within bounds of size, time and memory.

A body is whole when it has its stated length, or when its last chunk has come: the web server tells of every other end
as a disconnect. Decoders of a Content-Encoding would stand between `read_body` and `executions.intake.body`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, MutableMapping
from functools import cache
from typing import Any

from django.conf import settings

from executions.intake.body import Busy, Refused
from executions.intake.message import Message
from executions.intake.shares import Shares

type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

QUIET_S = 10.0  # seconds that a sender may send nothing
SMALL_PIECES = 64  # after so many pieces of less than SMALL bytes each, a sender waits for PACE_S
SMALL = 1024
PACE_S = 0.02


class Bodies:
    """The bodies that are being read or not stored yet: their number for each owner, and the memory that they take."""

    def __init__(self, *, most: int, memory: int) -> None:
        self.number = Shares(most)
        self.memory = Shares(memory, total=3 * memory)
        self.being_read: set[Held] = set()
        self.is_over = False

    def end(self) -> None:
        """End the reading of all bodies: the server stops, and their senders are told so."""
        self.is_over = True
        for held in self.being_read:
            if held.timer:
                held.timer.reschedule(0)


class Held:
    """One body while it is read and kept; `close()` gives the owner its share back."""

    __slots__ = ("bodies", "owner", "size", "timer")

    def __init__(self, bodies: Bodies, owner: Hashable) -> None:
        self.bodies = bodies
        self.owner = owner
        self.size = 0
        self.timer: asyncio.Timeout | None = None

    def begin(self) -> None:
        if not self.bodies.number.take(self.owner):
            raise Busy(503, "too_many_bodies", "Too many requests of this sender are being read at once.")
        self.bodies.being_read.add(self)

    def add(self, size: int) -> None:
        if not self.bodies.memory.take(self.owner, size):
            raise Busy(503, "too_many_bodies", "The requests of this sender that are being read take too much memory.")
        self.size += size

    def end_reading(self) -> None:
        self.bodies.number.give_back(self.owner)
        self.bodies.being_read.discard(self)
        self.timer = None

    def close(self) -> None:
        if self.size:
            self.bodies.memory.give_back(self.owner, self.size)
            self.size = 0


@cache
def bodies() -> Bodies:
    """Return the process's one Bodies. An owner is an organization or, where none is known, a client's address."""
    return Bodies(most=settings.OPEN_BODIES, memory=settings.BODY_MEMORY)


async def read_body(receive: Receive, message: Message, held: Held, *, limit: int) -> bytes:
    """Return the whole body; raise Refused for one that is too large, too slow, or ends early."""
    length = stated_length(message, limit)
    if length == 0:
        return b""
    held.begin()
    try:
        return await _read(receive, length, held, limit)
    finally:
        held.end_reading()


async def _read(receive: Receive, length: int | None, held: Held, limit: int) -> bytes:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + settings.BODY_TIME_S
    raw, pieces = bytearray(), 0
    try:
        async with asyncio.timeout_at(min(ends_at, loop.time() + QUIET_S)) as timer:
            held.timer = timer
            while True:
                event = await receive()
                if event["type"] != "http.request":
                    raise incomplete(len(raw), length)
                piece = event["body"]
                if length is None and len(raw) + len(piece) > limit:
                    raise too_large(limit)
                held.add(len(piece))
                raw += piece
                if not event["more_body"] or len(raw) == length:
                    break
                pieces += 1
                if pieces % SMALL_PIECES == 0 and len(raw) < pieces * SMALL:
                    await asyncio.sleep(PACE_S)
                timer.reschedule(min(ends_at, loop.time() + QUIET_S))
    except TimeoutError:
        raise (_stopping() if held.bodies.is_over else _too_slow(len(raw))) from None
    if length is not None and len(raw) != length:
        raise incomplete(len(raw), length)
    return bytes(raw)


async def hang_up(receive: Receive, end: Callable[[], None]) -> None:
    """Call `end` when the client hangs up, after its body was read; one that sends even more is not watched."""
    event = await receive()
    while event["type"] == "http.request" and not event["body"]:
        event = await receive()
    if event["type"] == "http.disconnect":
        end()


def stated_length(message: Message, limit: int) -> int | None:
    """Return the length that the headers state, None for a chunked body; raise Refused for what cannot be read."""
    if message.header(b"content-encoding").strip().lower() not in ("", "identity"):
        raise Refused(415, "unsupported_content_encoding", "Send the body without Content-Encoding.")
    if coding := message.header(b"transfer-encoding"):  # it overrules Content-Length, says HTTP
        if coding.strip().lower() != "chunked":
            raise Refused(
                415,
                "unsupported_content_encoding",
                "Send the body without Transfer-Encoding, or in chunks.",
                closes=True,
            )
        return None
    stated = message.header(b"content-length")
    if stated and not (stated.isascii() and stated.isdigit()):
        raise Refused(400, "invalid_length", "Content-Length is not a number.")
    if len(stated) > 18 or int(stated or "0") > limit:
        raise too_large(limit)
    return int(stated or "0")


def too_large(limit: int) -> Refused:
    return Refused(413, "body_too_large", f"The body is larger than {limit} bytes.", closes=True)


def incomplete(size: int, length: int | None) -> Refused:
    rest = f"after {size} of {length} bytes" if length is not None else f"after {size} bytes, before its last chunk"
    return Refused(400, "incomplete_body", f"The body ended {rest}.", closes=True)


def _too_slow(size: int) -> Refused:
    message = (
        f"The body was not complete after {settings.BODY_TIME_S:g} s, or nothing came for {QUIET_S:g} s. "
        f"{size} bytes have arrived."
    )
    return Refused(408, "body_too_slow", message, closes=True)


def _stopping() -> Busy:
    return Busy(503, "server_stopping", "AgentOS is stopping. Nothing was stored: send the request again.")

"""Messages over a pipe: eight bytes of length, then the content."""

from __future__ import annotations

import os
import select
import time

HEAD = 8  # bytes
CHUNK = 1 << 20


class Broken(Exception):
    """The other side has ended, or does not read or write in time."""


def receive(source: int, ends_at: float | None = None) -> bytes:
    """Return the next message; raise Broken when none is complete at this monotonic time, or ever."""
    return _read(source, int.from_bytes(_read(source, HEAD, ends_at)), ends_at)


def send(sink: int, content: bytes, ends_at: float | None = None) -> None:
    """Write a message; raise Broken when it is not through at this monotonic time."""
    rest = memoryview(len(content).to_bytes(HEAD) + content)
    while rest:
        _wait(sink, select.POLLOUT, ends_at)
        try:
            rest = rest[os.write(sink, rest[:CHUNK]) :]
        except BlockingIOError:
            continue
        except OSError:
            raise Broken from None


def _read(source: int, size: int, ends_at: float | None) -> bytes:
    parts, missing = [], size
    while missing:
        _wait(source, select.POLLIN, ends_at)
        part = os.read(source, min(missing, CHUNK))
        if not part:
            raise Broken
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _wait(line: int, event: int, ends_at: float | None) -> None:
    poll = select.poll()
    poll.register(line, event)
    if not poll.poll(None if ends_at is None else max(0.0, ends_at - time.monotonic()) * 1000):
        raise Broken

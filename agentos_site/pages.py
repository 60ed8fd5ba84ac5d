"""Django's pages beside the event loop: a few threads run them, and addresses and sessions take turns.

A body is read in the event loop before a thread begins, and an answer is sent from there after it has ended: neither a
silent sender nor a slow reader holds a thread.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from django.conf import settings
from django.db import connection

from agentos_site.wsgi import application as django_application
from executions.intake.body import Busy
from executions.intake.client import owner_of
from executions.intake.fair_threads import FairThreads, Join, Unavailable
from executions.intake.message import Message
from executions.intake.reading import Receive, hang_up
from executions.intake.shares import Shares
from executions.log import polls

logger = logging.getLogger(__name__)

THREADS = 16
AT_ONCE = (12, 4)  # threads that one address, and one session of it, keep busy at most
PROBE_THREADS = 2  # of their own: probes answer however many pages are in line
POLL_THREADS = 1  # a poll without news takes one short statement
# Bytes of an answer after which its thread's connection to the database is closed: libpq keeps room for the largest
# message that a connection has carried.
LARGE = 1_000_000
PLACES = 256  # requests for pages of one address at once, from a body that has come to an answer that is sent

type Work = Callable[[], PageAnswer]
type Poll = dict[str, str]  # the part of a WSGI environ that tells one poll from another


class PageAnswer(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


@cache
def page_threads() -> FairThreads[Work, PageAnswer]:
    return FairThreads("page", _run, threads=THREADS, batch=1, at_once=AT_ONCE)


@cache
def probe_threads() -> FairThreads[Work, PageAnswer]:
    return FairThreads("probe", _run, threads=PROBE_THREADS, batch=1)


@cache
def poll_threads() -> FairThreads[Poll, polls.Answer | None]:
    return FairThreads("poll", lambda batch, _: [polls.answer(poll) for poll in batch], threads=POLL_THREADS, batch=1)


@cache
def places() -> Shares:
    return Shares(PLACES)


def _run(work: Sequence[Work], _join: Join[Work]) -> list[PageAnswer | Exception]:
    try:
        answer = work[0]()
        if len(answer.body) > LARGE:
            connection.close()
        return [answer]
    except BaseException as error:  # a thread that ended would be missed
        logger.exception("a page cannot be served")
        return [error if isinstance(error, Exception) else RuntimeError(str(error))]


async def page(scope: Mapping[str, Any], message: Message, body: bytes, receive: Receive, address: str) -> PageAnswer:
    """Return a page's answer; raise Busy when its turn does not come. Whoever hangs up leaves the line."""
    work = partial(call_django, environ_of(scope, message, body, address))
    submission = page_threads().submit(work, owner_of(address), session_of(message))
    watch = asyncio.get_running_loop().create_task(hang_up(receive, submission.give_up))
    try:
        return await submission.result()
    except Unavailable:
        raise Busy(503, "too_many_pages", "Too many pages are being made at once. Try again.") from None
    finally:
        watch.cancel()


async def poll(message: Message, address: str) -> PageAnswer | None:
    """Return the answer of a poll without news; None when the request is no poll, or only Django can answer it."""
    asked = {
        "REQUEST_METHOD": message.method,
        "PATH_INFO": message.path,
        "QUERY_STRING": message.query.decode("latin-1"),
        "HTTP_COOKIE": message.headers.get(b"cookie", b"").decode("latin-1"),
    }
    if not polls.polled(asked):
        return None
    try:
        given = await poll_threads().submit(asked, owner_of(address), session_of(message)).result()
    except Unavailable:
        return None
    if given is None:
        return None
    return PageAnswer(204, [(name.lower().encode(), value.encode()) for name, value in given.headers], b"")


async def probe(scope: Mapping[str, Any], message: Message, address: str) -> PageAnswer:
    """Return the answer of /readyz or /metrics, which ask the database."""
    work = partial(call_django, environ_of(scope, message, b"", address))
    return await probe_threads().submit(work, owner_of(address)).result()


def session_of(message: Message) -> bytes:
    """Return what tells one user of an address from another: the session's cookie, or the token of the API."""
    name = settings.SESSION_COOKIE_NAME.encode() + b"="
    for cookie in message.headers.get(b"cookie", b"").split(b";"):
        if cookie.strip().startswith(name):
            return cookie.strip()[:100]
    return message.headers.get(b"authtoken", b"")[:100]


def call_django(environ: dict[str, Any]) -> PageAnswer:
    """Return Django's whole answer, however it streams it: the thread is free before the client reads."""
    head: list[tuple[str, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]], error: Any = None, /) -> Callable[[bytes], object]:
        head.append((status, headers))
        return lambda _: None  # WSGI's other way to write, which Django does not use

    parts = django_application(environ, start)
    try:
        body = b"".join(parts)
    finally:
        if close := getattr(parts, "close", None):
            close()
    status, headers = head[-1]
    lines = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return PageAnswer(int(status[:3]), lines, body)


def environ_of(scope: Mapping[str, Any], message: Message, body: bytes, address: str) -> dict[str, Any]:
    """Return the WSGI environ of a request whose body has been read."""
    host, port = scope["server"]
    environ: dict[str, Any] = {
        "REQUEST_METHOD": message.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": message.query.decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": address,
        "CONTENT_TYPE": message.headers.get(b"content-type", b"").decode("latin-1"),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    # WSGI takes hyphens and underscores for the same: a name with an underscore must not replace the one with hyphens,
    # which a proxy in front may vouch for.
    for name in sorted(message.headers, key=lambda name: b"_" in name):
        if name not in (b"content-type", b"content-length", b"transfer-encoding"):
            key = f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}"
            environ.setdefault(key, message.headers[name].decode("latin-1"))
    return environ

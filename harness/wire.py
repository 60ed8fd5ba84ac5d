"""A small HTTP client for thousands of open requests: a connection each, from a loopback address of choice."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

HOME = "127.0.0.1"
CSRF = "n" * 32  # a visitor may choose this value: it must only be the same in cookie and form
READ = 1 << 16


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request; status 0 means that none came."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()  # names in lower case
    body: bytes = b""

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    @property
    def cookies(self) -> str:
        """Return the cookies that the answer sets, as a request sends them back."""
        return "; ".join(value.partition(";")[0] for key, value in self.headers if key == "set-cookie")


@dataclass(frozen=True, slots=True)
class Door:
    """The web server of the installation, as one client reaches it."""

    port: int
    source: str = HOME  # the address that the server sees
    statuses: Counter[int] | None = None  # of the answers, counted

    @property
    def csrf_cookie(self) -> str:
        return f"agentos_csrf_{self.port}={CSRF}"

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
        """Return a request as it goes over the wire, for a connection that ends with the answer."""
        given = {"Host": f"{HOME}:{self.port}", "Connection": "close"} | dict(headers or {})
        if body or method == "POST":
            given.setdefault("Content-Length", str(len(body)))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
        return "\r\n".join(lines).encode() + body

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(HOME, self.port, local_addr=(self.source, 0), limit=READ)

    async def send(self, request: bytes, *, within: float = 60.0) -> Answer:
        """Send a request and return the answer, or one with status 0 when none comes in time."""
        answer = await self._exchange(request, within)
        if self.statuses is not None:
            self.statuses[answer.status] += 1
        return answer

    async def _exchange(self, request: bytes, within: float) -> Answer:
        writer = None
        try:
            async with asyncio.timeout(within):
                reader, writer = await self.connect()
                writer.write(request)
                return parsed(await reader.read(-1))
        except (OSError, TimeoutError, ValueError):
            return Answer()
        finally:
            if writer:
                writer.transport.abort()

    async def post(self, path: str, body: bytes, *, within: float = 60.0, **headers: str) -> Answer:
        """Post JSON, or what the headers say; underscores in their names stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send(
            self.request("POST", path, {"Content-Type": "application/json"} | named, body), within=within
        )

    async def get(self, path: str, *, cookies: str = "", within: float = 60.0) -> Answer:
        return await self.send(self.request("GET", path, {"Cookie": cookies} if cookies else {}), within=within)

    async def post_form(self, path: str, *, cookies: str = "", within: float = 60.0, **fields: str) -> Answer:
        """Post a form as its page would, with the token against forgery."""
        text = "&".join(f"{name}={quote(value)}" for name, value in ({"csrfmiddlewaretoken": CSRF} | fields).items())
        return await self.post(
            path, text.encode(), within=within, Content_Type="application/x-www-form-urlencoded",
            Cookie="; ".join(filter(None, [cookies, self.csrf_cookie])),
        )  # fmt: skip

    async def sign_in(self, username: str, password: str, *, cookies: str = "", within: float = 60.0) -> Answer:
        """Sign in; an answer with status 302 brings the cookies of the session."""
        return await self.post_form("/login/", cookies=cookies, within=within, username=username, password=password)


def parsed(text: bytes) -> Answer:
    """Return an answer that was read to its end; raise ValueError for none."""
    head, _, body = text.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    if not first.startswith("HTTP/"):
        raise ValueError("no answer")
    return Answer(int(first.split(" ")[1]), tuple((name.lower(), value.strip()) for name, _, value in pairs), body)


def raise_the_files_limit() -> None:
    """Let this process hold as many connections as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

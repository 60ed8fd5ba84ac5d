"""All outbound HTTP: dials only addresses that were checked, for each redirect too, with caps on size and time.

The table is allow-list thinking: a public address, or what the operator named in OUTBOUND_ALLOW. Beside this folder
nobody may import a network client.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from connectors.outbound import files
from connectors.outbound.addresses import Allow, checked_url
from connectors.outbound.asking import asker
from connectors.outbound.guard import GuardedConnector, GuardedResolver
from connectors.outbound.holding import FREE, Holding, HoldsTooMuch, Memory, Part
from connectors.outbound.names import Resolve, SystemNames
from connectors.outbound.shares import Shares
from connectors.sdk.answer import weight_held
from connectors.sdk.call import HttpResponse, StepError

SIZE_LIMIT = 10 * 1024 * 1024  # an answer is held in memory, hundreds of them at once
REDIRECT_LIMIT = 3
READ_AHEAD = 64 * 1024  # bytes that one connection reads before its request takes them
CONNECTIONS = 2000  # at most; twice what an engine runs at once, so that one organization's share is all of its slots
NO_ROOM = (
    "The answer could not be read within {:g} s: other executions of the organization hold all the memory for large"
    " answers that it may use."
)
UPGRADE = ("http", 80, "https", 443)
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# By allow-list: any other header may be a secret that was meant for the first host only.
SAFE_ACROSS_ORIGINS = frozenset({"accept", "accept-language", "content-type", "user-agent"})


class Outbound:
    """Makes outbound HTTP requests over one pool of connections; close it before its event loop ends."""

    def __init__(
        self,
        allow: Allow,
        *,
        resolve: Resolve | None = None,
        size_limit: int = SIZE_LIMIT,
        memory: Memory | None = None,
    ) -> None:
        self.allow = allow
        self.find = resolve or SystemNames()
        self.size_limit = size_limit
        self.connections = Shares(files.connections(CONNECTIONS))
        self.memory = memory or Memory()
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def of(self, organization_id: object) -> ExecutionOutbound:
        """Return the HTTP port of one execution's steps, with its organization's share of all that it uses."""
        return ExecutionOutbound(self, str(organization_id))

    async def __aenter__(self) -> Outbound:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None and self._loop is asyncio.get_running_loop():
            await self._session.close()
        self._session = self._loop = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: list[tuple[str, str]] | None = None,
        body: bytes | None = None,
        timeout_s: float = 30.0,
        follow_redirects: bool = True,
        holding: Holding | None = None,
    ) -> HttpResponse:
        """Return the answer, whatever its status; `timeout_s` covers everything, redirects and drips too.

        It begins once the organization's share of the connections has a place; waits for an open file do not count.
        What a large answer takes of the memory stays taken in `holding`; without one it counts until the request
        returns.
        """
        target = checked_url(url)
        if query:
            target = target.extend_query(query)
        part, is_kept = Part(holding or self.memory.of(asker.get())), False
        try:
            async with self.connections.of(asker.get()), asyncio.timeout(timeout_s) as limit:
                answer = await self._follow(method, target, dict(headers or {}), body, follow_redirects, part, limit)
            is_kept = holding is not None
            return answer
        except TimeoutError:
            text = NO_ROOM if part.is_waiting else "The service did not answer completely within {:g} s."
            text = text.format(timeout_s)
            external = not part.is_waiting
            raise StepError(text, code="timeout", external=external, retryable=True, unknown=True) from None
        finally:
            if not is_kept:
                part.give_back()

    async def _follow(
        self,
        method: str,
        url: URL,
        headers: dict[str, str],
        body: bytes | None,
        follow: bool,
        part: Part,
        limit: asyncio.Timeout,
    ) -> HttpResponse:
        for _ in range(REDIRECT_LIMIT + 1):
            part.give_back()
            response = await files.when_free(partial(self._once, method, url, headers, body, part), limit)
            location = response.headers.get("location", "")
            if not follow or response.status not in REDIRECTS or not location:
                return response
            following = checked_url(urljoin(str(url), location))
            if following.origin() != url.origin():
                headers = {name: value for name, value in headers.items() if name.lower() in SAFE_ACROSS_ORIGINS}
            # What browsers do, and the standard allows: the answer of a POST is fetched with a GET.
            if response.status == 303 or (response.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), None
            if body and not _is_same_place(url, following):
                raise StepError(
                    f"The service redirected the request to {following.host}. AgentOS does not send its body there: "
                    "call that address itself if you trust it.",
                    code="redirect_elsewhere",
                    external=True,
                )
            url = following
        raise StepError(
            f"The service redirected the request more than {REDIRECT_LIMIT} times.",
            code="too_many_redirects",
            external=True,
        )

    async def _once(
        self, method: str, url: URL, headers: dict[str, str], body: bytes | None, part: Part
    ) -> HttpResponse:
        # Uncompressed: a few kilobytes could unpack to gigabytes.
        given = {"user-agent": "AgentOS", "accept": "*/*", **_joined(headers), "accept-encoding": "identity"}
        try:
            async with self._open().request(
                method,
                url,
                headers=given,
                data=body,
                allow_redirects=False,
                read_bufsize=READ_AHEAD,
                max_line_size=16_384,
                max_field_size=16_384,
            ) as answer:
                content = await self._read(answer, part)
                response = HttpResponse(
                    status=answer.status, headers=_joined(answer.headers), body=content, url=str(answer.url)
                )
                await part.become(weight_held(response))
                return response
        except StepError:
            raise
        except HoldsTooMuch:
            text = f"The answers that this execution uses need more than {self.memory.most >> 20} MB of memory."
            raise StepError(text, code="too_large", unknown=True) from None
        except (aiohttp.InvalidURL, UnicodeError):
            raise StepError("URL is not valid.", code="bad_url") from None
        except (aiohttp.ClientSSLError, ssl.SSLError):
            text = f"AgentOS could not make a trusted TLS connection to {url.host}."
            raise StepError(text, code="tls_error", external=True) from None
        except aiohttp.ClientConnectorError as error:
            if files.are_used_up(error.os_error):
                raise files.UsedUp from None
            text = f"AgentOS could not connect to {url.host}."
            raise StepError(text, code="cannot_connect", external=True, retryable=True) from None
        except ValueError:  # not quoted: a header that cannot be sent may hold a secret
            raise StepError("A header of the request cannot be sent.", code="bad_request") from None
        except (aiohttp.ClientError, OSError):
            text = f"The connection to {url.host} broke, or its answer is not valid HTTP."
            raise StepError(text, code="bad_response", external=True, retryable=True, unknown=True) from None

    async def _read(self, answer: aiohttp.ClientResponse, part: Part) -> bytes:
        """Return the body; beyond FREE bytes the rest stays in the socket until there is room for it."""
        if answer.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            text = "The service compressed its answer although the request did not allow that."
            raise StepError(text, code="bad_response", external=True)
        chunks: list[bytes] = []
        size, room = 0, FREE
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            if size > self.size_limit:
                chunks.clear()  # an error refers to its frames for as long as it is told of
                text = f"The answer is larger than {self.size_limit / (1024 * 1024):g} MB."
                raise StepError(text, code="too_large", external=True)
            chunks.append(chunk)
            if size > room:
                room = min(self.size_limit, max(answer.content_length or 0, 4 * size))
                await part.become(2 * room)  # as chunks and whole, later as text and as the text to store
        return b"".join(chunks)

    def _open(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            self._loop = loop
            self._session = aiohttp.ClientSession(
                connector=GuardedConnector(GuardedResolver(self.allow, self.find)),
                trust_env=False,  # a proxy of the environment would do the dialling, unchecked
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),  # all organizations share the session
                timeout=aiohttp.ClientTimeout(total=None),  # `request` bounds the whole
            )
        return self._session


class ExecutionOutbound:
    """The HTTP port of one execution's steps (`connectors.sdk.call.Http`), and the memory that it holds."""

    __slots__ = ("holding", "organization", "outbound")

    def __init__(self, outbound: Outbound, organization: str) -> None:
        self.outbound = outbound
        self.organization = organization
        self.holding = outbound.memory.of(organization)

    async def request(self, method: str, url: str, **options: Any) -> HttpResponse:
        before = asker.set(self.organization)
        try:
            return await self.outbound.request(method, url, holding=self.holding, **options)
        finally:
            asker.reset(before)


def _is_same_place(url: URL, following: URL) -> bool:
    """Return whether a redirect stays at its origin, or goes on there by TLS, as many hosts ask for."""
    if following.origin() == url.origin():
        return True
    return following.host == url.host and (url.scheme, url.port, following.scheme, following.port) == UPGRADE


def _joined(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers by lower-case name, those of one name as one."""
    joined: dict[str, str] = {}
    for given, value in headers.items():
        name = given.lower()
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined

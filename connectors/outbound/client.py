"""All outbound traffic: dials only addresses that it has checked, for each redirect too, with caps on size and time.

The table is allow-list thinking: a public address, or what the operator named in OUTBOUND_ALLOW. The only module
that may import a network client.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from connectors.outbound.addresses import OPEN_PORTS, Address, Allow, checked_url, is_public
from connectors.sdk.call import HttpResponse, StepError

SIZE_LIMIT = 10 * 1024 * 1024  # an answer is held in memory, hundreds of them at once
REDIRECT_LIMIT = 3
RESOLVE_S = 3.0
CONNECTIONS = 2000  # above what an engine runs at once: a full pool would let one slow service delay all
IDLE_S = 4.0  # shorter than servers keep an idle connection, or a POST could meet one just closed
DNS_THREADS = 16
UPGRADE = ("http", 80, "https", 443)
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# By allow-list: any other header may be a secret that was meant for the first host only.
SAFE_ACROSS_ORIGINS = frozenset({"accept", "accept-language", "content-type", "user-agent"})


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


type Resolve = Callable[[str, int], Awaitable[list[str]]]


# Of their own: a name server that hangs must not keep other work of the process waiting for a thread.
_dns_threads = ThreadPoolExecutor(DNS_THREADS, thread_name_prefix="outbound-dns")


async def system_resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host as this machine's resolver says; raise OSError when it knows none."""
    return await asyncio.get_running_loop().run_in_executor(_dns_threads, _look_up, host, port)


def _look_up(host: str, port: int) -> list[str]:
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


class GuardedResolver(AbstractResolver):
    """Resolves once, refuses when any address is not allowed, and hands over exactly what it checked."""

    def __init__(self, allow: Allow, resolve: Resolve) -> None:
        self.allow = allow
        self.find = resolve
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the checked addresses of a host; raise StepError when it has none, or one that may not be dialled."""
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await self._found(host, port)
        except (OSError, UnicodeError, TimeoutError):
            text = f"AgentOS could not resolve the name {host}."
            raise StepError(text, code="cannot_resolve", external=True, retryable=True) from None
        # All of them, not the one that is dialled: a name with a private address beside a public one is an attack.
        for text in found:
            self.check(ipaddress.ip_address(text.split("%")[0]), port)
        return [self._result(host, text, port) for text in found]

    async def _found(self, host: str, port: int) -> list[str]:
        """Look a name up once for all who ask while that is under way; what comes out is checked for each."""
        if _is_address(host):
            return [host]
        key = (host, port)
        if key not in self._under_way:
            self._under_way[key] = asyncio.ensure_future(self.find(host, port))
            self._under_way[key].add_done_callback(partial(self._looked_up, key))
        found = await asyncio.shield(self._under_way[key])
        if not found:
            raise OSError("no addresses")
        return found

    def _looked_up(self, key: tuple[str, int], done: asyncio.Future[list[str]]) -> None:
        self._under_way.pop(key, None)
        if not done.cancelled():
            done.exception()  # whoever asked has it, or has given up

    def check(self, address: Address, port: int) -> None:
        """Raise StepError unless the operator opened this address and port, or both are public."""
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        target = mapped or address
        if self.allow.covers(target, port):
            return
        if not is_public(target):
            raise StepError(
                "This address is private or reserved, so calls to it are refused. The operator can allow it in "
                "OUTBOUND_ALLOW.",
                code="address_not_allowed",
            )
        if port not in OPEN_PORTS:
            raise StepError(f"Calls to port {port} are not allowed.", code="port_not_allowed")

    def _result(self, host: str, text: str, port: int) -> ResolveResult:
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        return ResolveResult(hostname=host, host=text, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)

    async def close(self) -> None:
        pass


class GuardedConnector(aiohttp.TCPConnector):
    """Sends address literals through the resolver too, which aiohttp would dial unasked."""

    def __init__(self, resolver: GuardedResolver) -> None:
        # No cache: between a check and a later dial, the name could have moved to a private address.
        super().__init__(resolver=resolver, use_dns_cache=False, limit=CONNECTIONS, keepalive_timeout=IDLE_S)
        self.guard = resolver

    async def _resolve_host(self, host: str, port: int, traces: Any = None) -> list[ResolveResult]:
        return await self.guard.resolve(host, port)


class Outbound:
    """Makes outbound HTTP requests over one pool of connections; close it before its event loop ends."""

    def __init__(self, allow: Allow, *, resolve: Resolve = system_resolve, size_limit: int = SIZE_LIMIT) -> None:
        self.allow = allow
        self.find = resolve
        self.size_limit = size_limit
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

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
    ) -> HttpResponse:
        """Return the answer, whatever its status; `timeout_s` covers everything, redirects and drips too."""
        target = checked_url(url)
        if query:
            target = target.extend_query(query)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._follow(method, target, dict(headers or {}), body, follow_redirects)
        except TimeoutError:
            text = f"The service did not answer completely within {timeout_s:g} s."
            raise StepError(text, code="timeout", external=True, retryable=True, unknown=True) from None

    async def _follow(
        self, method: str, url: URL, headers: dict[str, str], body: bytes | None, follow: bool
    ) -> HttpResponse:
        for _ in range(REDIRECT_LIMIT + 1):
            response = await self._once(method, url, headers, body)
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

    async def _once(self, method: str, url: URL, headers: dict[str, str], body: bytes | None) -> HttpResponse:
        # Uncompressed: a few kilobytes could unpack to gigabytes.
        given = {"user-agent": "AgentOS", "accept": "*/*", **_joined(headers), "accept-encoding": "identity"}
        try:
            async with self._open().request(
                method,
                url,
                headers=given,
                data=body,
                allow_redirects=False,
                max_line_size=16_384,
                max_field_size=16_384,
            ) as answer:
                content = await self._read(answer)
                return HttpResponse(
                    status=answer.status, headers=_joined(answer.headers), body=content, url=str(answer.url)
                )
        except StepError:
            raise
        except (aiohttp.InvalidURL, UnicodeError):
            raise StepError("URL is not valid.", code="bad_url") from None
        except (aiohttp.ClientSSLError, ssl.SSLError):
            text = f"AgentOS could not make a trusted TLS connection to {url.host}."
            raise StepError(text, code="tls_error", external=True) from None
        except aiohttp.ClientConnectorError:
            text = f"AgentOS could not connect to {url.host}."
            raise StepError(text, code="cannot_connect", external=True, retryable=True) from None
        except ValueError:  # not quoted: a header that cannot be sent may hold a secret
            raise StepError("A header of the request cannot be sent.", code="bad_request") from None
        except (aiohttp.ClientError, OSError):
            text = f"The connection to {url.host} broke, or its answer is not valid HTTP."
            raise StepError(text, code="bad_response", external=True, retryable=True, unknown=True) from None

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        if answer.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            text = "The service compressed its answer although the request did not allow that."
            raise StepError(text, code="bad_response", external=True)
        chunks, size = [], 0
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            if size > self.size_limit:
                text = f"The answer is larger than {self.size_limit / (1024 * 1024):g} MB."
                raise StepError(text, code="too_large", external=True)
            chunks.append(chunk)
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

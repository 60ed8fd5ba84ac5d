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
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from connectors.call import HttpResponse, StepError

SIZE_LIMIT = 10 * 1024 * 1024
REDIRECT_LIMIT = 5
RESOLVE_S = 3.0
CONNECTIONS = 2000
OPEN_PORTS = frozenset({80, 443, *range(8000, 9000)})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
CREDENTIAL_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "idempotency-key"})
SAFE_ACROSS_ORIGINS = frozenset({"accept", "accept-language", "content-type", "user-agent"})

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network
type Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What is not a public unicast address, and Azure's wire server, which has one (IANA special-purpose registries).
BLOCKED_4 = [
    ipaddress.ip_network(block)
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
    )
]  # fmt: skip
GLOBAL_6 = ipaddress.ip_network("2000::/3")
BLOCKED_6 = [
    ipaddress.ip_network(block)
    for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "2620:4f:8000::/48")
]


@dataclass(frozen=True, slots=True)
class Allow:
    """The private networks that the operator opened, each for one port or for all."""

    entries: tuple[tuple[Network, int | None], ...] = ()

    def covers(self, address: Address, port: int) -> bool:
        return any(
            address.version == network.version and address in network and only in (None, port)
            for network, only in self.entries
        )


def parse_allow(text: str) -> Allow:
    """Return OUTBOUND_ALLOW: networks, each with an optional `:port` (an IPv6 one in brackets then)."""
    return Allow(tuple(_entry(part.strip()) for part in text.split(",") if part.strip()))


def _entry(text: str) -> tuple[Network, int | None]:
    network, port = text, ""
    if text.startswith("["):
        network, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
        suffix, _, after = rest.partition(":")
        if suffix.startswith("/"):
            network, port = network + suffix, after
    elif text.count(":") == 1:
        network, port = text.split(":")
    try:
        number = int(port) if port else None
        if number is not None and not 0 < number < 65536:
            raise ValueError
        return ipaddress.ip_network(network, strict=False), number
    except ValueError:
        raise ValueError(
            f"OUTBOUND_ALLOW: “{text}” is not a network with an optional port, like 10.0.0.0/8:8080."
        ) from None


def is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        if mapped is None:
            return address in GLOBAL_6 and not any(address in block for block in BLOCKED_6)
        address = mapped
    return not any(address in block for block in BLOCKED_4)


type Resolve = Callable[[str, int], Awaitable[list[str]]]


async def system_resolve(host: str, port: int) -> list[str]:
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


class GuardedResolver(AbstractResolver):
    """Resolves once, refuses when any address is not allowed, and hands over exactly what it checked."""

    def __init__(self, allow: Allow, resolve: Resolve) -> None:
        self.allow = allow
        self.find = resolve

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await self.find(host, port)
        except (OSError, UnicodeError, TimeoutError):
            raise StepError(f"Could not resolve {host}.", code="cannot_resolve", outside=True, retryable=True) from None
        for text in found:
            self.check(ipaddress.ip_address(text.split("%")[0]), port)
        return [self._result(host, text, port) for text in found]

    def check(self, address: Address, port: int) -> None:
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        target = mapped or address
        if self.allow.covers(target, port):
            return
        if not is_public(target):
            raise StepError(
                "This address is not allowed: it is private or reserved. The operator can open it in OUTBOUND_ALLOW.",
                code="address_not_allowed",
            )
        if port not in OPEN_PORTS:
            raise StepError(f"Port {port} is not allowed.", code="port_not_allowed")

    def _result(self, host: str, text: str, port: int) -> ResolveResult:
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        return ResolveResult(hostname=host, host=text, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)

    async def close(self) -> None:
        pass


class GuardedConnector(aiohttp.TCPConnector):
    """Sends address literals through the resolver too, which aiohttp would dial unasked."""

    def __init__(self, resolver: GuardedResolver) -> None:
        super().__init__(resolver=resolver, use_dns_cache=False, limit=CONNECTIONS, limit_per_host=0)
        self.guard = resolver

    async def _resolve_host(self, host: str, port: int, traces: Any = None) -> list[ResolveResult]:
        return await self.guard.resolve(host, port)


class Outbound:
    """Makes outbound HTTP requests; one a loop."""

    def __init__(self, allow: Allow, *, resolve: Resolve = system_resolve, size_limit: int = SIZE_LIMIT) -> None:
        self.resolver = GuardedResolver(allow, resolve)
        self.size_limit = size_limit
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

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
            text = f"No complete answer within {timeout_s:g} s."
            raise StepError(text, code="timeout", outside=True, retryable=True) from None

    async def _follow(
        self, method: str, url: URL, headers: dict[str, str], body: bytes | None, follow: bool
    ) -> HttpResponse:
        for _ in range(REDIRECT_LIMIT + 1):
            response = await self._once(method, url, headers, body)
            location = response.headers.get("Location", "")
            if not follow or response.status not in REDIRECTS or not location:
                return response
            following = checked_url(urljoin(str(url), location))
            if following.origin() != url.origin():
                headers = {name: value for name, value in headers.items() if name.lower() in SAFE_ACROSS_ORIGINS}
            if response.status == 303 or (response.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), None
            url = following
        raise StepError(f"More than {REDIRECT_LIMIT} redirects.", code="too_many_redirects", outside=True)

    async def _once(self, method: str, url: URL, headers: dict[str, str], body: bytes | None) -> HttpResponse:
        given = {"User-Agent": "AgentOS", "Accept": "*/*", "Accept-Encoding": "identity", **headers}
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
                return HttpResponse(status=answer.status, headers={**answer.headers}, body=content, url=str(answer.url))
        except StepError:
            raise
        except (aiohttp.InvalidURL, UnicodeError):
            raise StepError("The URL is not valid.", code="bad_url") from None
        except (aiohttp.ClientSSLError, ssl.SSLError):
            text = f"No trustworthy TLS connection to {url.host}."
            raise StepError(text, code="tls_error", outside=True) from None
        except aiohttp.ClientConnectorError:
            text = f"Could not connect to {url.host}."
            raise StepError(text, code="cannot_connect", outside=True, retryable=True) from None
        except ValueError as error:
            raise StepError(f"The request cannot be sent: {error}", code="bad_request") from None
        except (aiohttp.ClientError, OSError) as error:
            text = f"The answer of {url.host} could not be read: {type(error).__name__}."
            raise StepError(text, code="bad_response", outside=True, retryable=True) from None

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        if answer.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            text = "The answer is compressed although that was not asked for."
            raise StepError(text, code="bad_response", outside=True)
        chunks, size = [], 0
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            if size > self.size_limit:
                text = f"The answer is larger than {self.size_limit // (1024 * 1024)} MB."
                raise StepError(text, code="too_large", outside=True)
            chunks.append(chunk)
        return b"".join(chunks)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=GuardedConnector(self.resolver),
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session


def checked_url(url: str) -> URL:
    """Return a URL that may be asked for; raise StepError naming the rule that it breaks."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise StepError("The URL is not valid.", code="bad_url") from None
    if parts.scheme.lower() not in ("http", "https"):
        raise StepError("Only http and https URLs can be called.", code="bad_url")
    if parts.username or parts.password:
        raise StepError("A URL must not hold a user name or password: use a header.", code="bad_url")
    if not parts.hostname or "\\" in url or port == 0:
        raise StepError("The URL is not valid.", code="bad_url")
    try:
        return URL(url.strip())
    except (ValueError, UnicodeError):
        raise StepError("The URL is not valid.", code="bad_url") from None

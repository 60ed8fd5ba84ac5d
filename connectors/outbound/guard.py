"""Dials only addresses that were checked, whoever asks for them by which name."""

from __future__ import annotations

import ipaddress
import socket
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from connectors.outbound.addresses import OPEN_PORTS, Address, Allow, is_public
from connectors.outbound.arrival import ArrivingAnswer, Turns
from connectors.outbound.asking import asker
from connectors.outbound.names import LookUps, Resolve
from connectors.sdk.call import StepError

IDLE_S = 4.0  # shorter than servers keep an idle connection, or a POST could meet one just closed


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class GuardedResolver(AbstractResolver):
    """Resolves once, refuses when any address is not allowed, and hands over exactly what it checked."""

    def __init__(self, allow: Allow, find: Resolve) -> None:
        self.allow = allow
        self.look_ups = LookUps(find)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the checked addresses of a host; raise StepError when it has none, or one that may not be dialled."""
        try:
            found = [host] if _is_address(host) else await self.look_ups.addresses(host, port, asker.get())
        except (OSError, UnicodeError, TimeoutError):
            text = f"AgentOS could not resolve the name {host}."
            raise StepError(text, code="cannot_resolve", external=True, retryable=True) from None
        # All of them, not the one that is dialled: a name with a private address beside a public one is an attack.
        for text in found:
            self.check(ipaddress.ip_address(text.split("%")[0]), port)
        return [self._result(host, text, port) for text in found]

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
        await self.look_ups.close()


class GuardedConnector(aiohttp.TCPConnector):
    """Sends address literals through the resolver too, which aiohttp would dial unasked, and bounds what arrives."""

    def __init__(self, resolver: GuardedResolver) -> None:
        # No limit: Outbound's shares are one. No cache: between a check and a later dial, the name could have moved
        # to a private address.
        super().__init__(resolver=resolver, use_dns_cache=False, limit=0, keepalive_timeout=IDLE_S)
        self.guard = resolver
        self._factory = partial(ArrivingAnswer, loop=self._loop, turns=Turns(self._loop))  # type: ignore[assignment]

    async def _resolve_host(self, host: str, port: int, traces: Any = None) -> list[ResolveResult]:
        return await self.guard.resolve(host, port)

    async def close(self, **options: Any) -> None:
        await self.guard.close()
        await super().close(**options)

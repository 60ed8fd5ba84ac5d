"""Looks names up without threads that could all hang: c-ares asks the machine's name servers by its own sockets.

It reads /etc/resolv.conf and /etc/hosts as the system does. A look-up that nobody waits for any more ends by its time.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import aiodns

from connectors.outbound.shares import Shares

RESOLVE_S = 8.0  # seconds of one look-up altogether
# Each try takes twice as long as the one before, and the first one a quarter of a second where the server is quick
# else: fewer tries would give up a name for which it has to ask its way through.
TRY_S, TRIES = 1.0, 6
# Seconds by which a look-up may end too late. Later than that this process stood still meanwhile, which says nothing
# about the name: it is asked for again.
STOOD_STILL_S = 2.0
AT_ONCE = 1024  # look-ups under way for all organizations
FORGET_S = 5.0  # seconds for which a name that could not be resolved is not asked for again
REMEMBERED = 4096  # such names, at most
NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


class SystemNames:
    """Asks the name servers of this machine; `nameservers` (`address:port`) are others, for tests."""

    def __init__(self, nameservers: Sequence[str] | None = None) -> None:
        self.nameservers = nameservers
        self.resolver: aiodns.DNSResolver | None = None

    async def __call__(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host; raise OSError when it has none or no name server answers."""
        if self.resolver is None:
            self.resolver = aiodns.DNSResolver(self.nameservers, timeout=TRY_S, tries=TRIES)
        try:
            found = await self.resolver.getaddrinfo(host, port=port)
        except aiodns.error.DNSError as error:
            raise OSError(str(error)) from None
        return list(dict.fromkeys(node.addr[0].decode() for node in found.nodes))

    async def close(self) -> None:
        resolver, self.resolver = self.resolver, None
        if resolver is not None:
            await resolver.close()


type Resolve = Callable[[str, int], Awaitable[list[str]]]


class LookUps:
    """The look-ups under way: one for each name and asker, in fair shares, and failures remembered for seconds."""

    def __init__(self, find: Resolve) -> None:
        self.find = find
        self.shares = Shares(AT_ONCE)
        self.under_way: dict[tuple[str, str, int], asyncio.Task[list[str]]] = {}
        self.failed: OrderedDict[str, float] = OrderedDict()  # name: monotonic time until which it counts

    async def addresses(self, host: str, port: int, asker: str) -> list[str]:
        """Return the addresses of a host; raise OSError or TimeoutError when it has none.

        Who asks while the same asker's look-up is under way shares it. It goes on when all have given up, because
        c-ares cannot take a question back, and keeps its place until then.
        """
        if NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            raise OSError("a number is no name")  # 0177.0.0.1 is 127.0.0.1 to some and 177.0.0.1 to others
        if self.failed.get(host, 0) > time.monotonic():
            raise OSError("the name could not be resolved just now")
        key = (asker, host, port)
        if key not in self.under_way:
            self.under_way[key] = asyncio.create_task(self._look_up(host, port, asker))
            self.under_way[key].add_done_callback(partial(self._note_end, key))
        return await asyncio.shield(self.under_way[key])

    async def _look_up(self, host: str, port: int, asker: str) -> list[str]:
        async with self.shares.of(asker):
            while True:
                began = time.monotonic()
                try:
                    return await self._found(host, port)
                except (OSError, UnicodeError, TimeoutError):
                    if time.monotonic() - began <= RESOLVE_S + STOOD_STILL_S:
                        self._remember(host)
                        raise

    async def _found(self, host: str, port: int) -> list[str]:
        async with asyncio.timeout(RESOLVE_S):
            found = await self.find(host, port)
        if not found:
            raise OSError("no addresses")
        return found

    def _remember(self, host: str) -> None:
        self.failed[host] = time.monotonic() + FORGET_S
        self.failed.move_to_end(host)
        while len(self.failed) > REMEMBERED:
            self.failed.popitem(last=False)

    def _note_end(self, key: tuple[str, str, int], done: asyncio.Task[list[str]]) -> None:
        self.under_way.pop(key, None)
        if not done.cancelled():
            done.exception()  # whoever asked has it, or has given up

    async def close(self) -> None:
        for task in list(self.under_way.values()):
            task.cancel()
            with suppress(asyncio.CancelledError, OSError, UnicodeError, TimeoutError):
                await task
        if isinstance(self.find, SystemNames):
            await self.find.close()

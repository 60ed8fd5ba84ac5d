"""Fair shares of what all organizations use together: nobody can take so much that others find nothing."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Shares:
    """So many places, and for each asker at most as many as are left free.

    One asker alone gets half of them, two get a third each: a newcomer always finds a place, without a fixed quota.
    Those who wait are served in turn, one of each asker. For one event loop.
    """

    def __init__(self, total: int) -> None:
        self.free = total
        self.held: Counter[str] = Counter()
        self.waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def of(self, asker: str) -> AsyncIterator[None]:
        """Hold one place within the block; wait for it as long as the asker has its share."""
        await self.take(asker)
        try:
            yield
        finally:
            self.give_back(asker)

    async def take(self, asker: str) -> None:
        """Return with a place, which `give_back` ends: for what goes on when its caller has been cancelled."""
        if self.waiting.get(asker) or not self._may_have_one(asker):
            await self._wait(asker)
        else:
            self._grant(asker)

    def give_back(self, asker: str) -> None:
        self.free += 1
        self.held[asker] -= 1
        if not self.held[asker]:
            del self.held[asker]
        self._serve()

    def _may_have_one(self, asker: str) -> bool:
        return self.held[asker] < self.free

    def _grant(self, asker: str) -> None:
        self.held[asker] += 1
        self.free -= 1

    async def _wait(self, asker: str) -> None:
        """Return once `_serve` has granted the asker a place."""
        mine = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(asker, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # served and cancelled at the same moment
                self.give_back(asker)
            elif asker in self.waiting:
                self._leave(asker, mine)
            raise

    def _leave(self, asker: str, one: asyncio.Future[None]) -> None:
        if one in self.waiting[asker]:
            self.waiting[asker].remove(one)
        if not self.waiting[asker]:
            del self.waiting[asker]

    def _serve(self) -> None:
        """Serve who waits and has less than its share, one of each asker in turn."""
        for asker in list(self.waiting):
            if not self.free:
                return
            if not self._may_have_one(asker):
                continue
            line = self.waiting.pop(asker)
            while line and line[0].done():  # cancelled, and not yet gone
                line.popleft()
            if line:
                self._grant(asker)
                line.popleft().set_result(None)
            if line:
                self.waiting[asker] = line  # behind the others

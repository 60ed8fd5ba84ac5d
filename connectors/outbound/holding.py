"""Memory for large data: what all executions of a process may hold at once, in fair shares."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

MEGABYTE = 1024 * 1024
FREE = 64 * 1024  # bytes that are not counted: most data is smaller
TOTAL = 64 * MEGABYTE  # for all organizations together
MOST = 256 * MEGABYTE  # for one execution, as for a compute job: the largest answer that is read needs 116


class HoldsTooMuch(Exception):
    """One execution would hold more than MOST bytes."""


class Memory:
    """So many bytes, and for each organization at most as many as it leaves free: alone it gets half of them.

    Beyond that each organization has room for one execution, which may hold MOST bytes. It never waits, so it ends and
    leaves the room to the next: those of one organization cannot wait for each other for ever, and others never wait
    for it. Who waits is served in turn, one of each organization. For one event loop.
    """

    def __init__(self, total: int = TOTAL, most: int = MOST) -> None:
        self.free = total
        self.most = most
        self.used = 0  # bytes, those of executions with room of their own too
        self._shared: Counter[str] = Counter()
        self._alone: dict[str, Holding] = {}  # the execution of each organization that has its room
        self._waiting: dict[str, deque[_Waiting]] = {}

    def of(self, organization: str) -> Holding:
        """Return what an execution of the organization holds; it must give all of it back."""
        return Holding(self, organization)

    def may_take(self, holding: Holding, amount: int) -> bool:
        owner = holding.organization
        fits = self._shared[owner] + amount <= self.free - amount
        return fits or self._alone.get(owner) in (None, holding)

    def may_pass(self, holding: Holding, amount: int) -> bool:
        """Return whether it may take so much before those who wait."""
        owner = holding.organization
        return self._alone.get(owner) is holding or (owner not in self._waiting and self.may_take(holding, amount))

    def grant(self, holding: Holding, amount: int) -> None:
        owner = holding.organization
        if self._alone.get(owner) is not holding:
            if self._shared[owner] + amount <= self.free - amount:
                self._share(owner, amount)
            else:
                self._alone[owner] = holding
                self._share(owner, -holding.size)
        holding.size += amount
        self.used += amount

    def give_back(self, holding: Holding, amount: int) -> None:
        owner = holding.organization
        holding.size -= amount
        self.used -= amount
        if self._alone.get(owner) is not holding:
            self._share(owner, -amount)
        elif not holding.size:
            del self._alone[owner]
        self._serve()

    async def wait(self, holding: Holding, amount: int) -> None:
        """Return once `_serve` has granted the amount."""
        mine = _Waiting(holding, amount)
        self._waiting.setdefault(holding.organization, deque()).append(mine)
        try:
            await mine.granted
        except asyncio.CancelledError:
            if mine.granted.done() and not mine.granted.cancelled():  # served and cancelled at the same moment
                self.give_back(holding, amount)
            else:
                self._serve()  # those behind it
            raise

    def _share(self, owner: str, amount: int) -> None:
        self.free -= amount
        self._shared[owner] += amount
        if not self._shared[owner]:
            del self._shared[owner]

    def _serve(self) -> None:
        owners = list(self._waiting)
        while owners:
            owners = [owner for owner in owners if self._serve_one(owner) and owner in self._waiting]

    def _serve_one(self, owner: str) -> bool:
        """Serve the first who waits of an organization, if it may take what it needs; return whether it did."""
        line = self._waiting[owner]
        while line and line[0].granted.done():  # cancelled
            line.popleft()
        is_served = bool(line) and self.may_take(line[0].holding, line[0].amount)
        if is_served:
            first = line.popleft()
            self.grant(first.holding, first.amount)
            first.granted.set_result(None)
        if not line:
            del self._waiting[owner]
        return is_served


class Holding:
    """What one execution holds, in bytes."""

    __slots__ = ("memory", "organization", "size")

    def __init__(self, memory: Memory, organization: str) -> None:
        self.memory = memory
        self.organization = organization
        self.size = 0

    async def take(self, amount: int) -> None:
        """Return once there is room for so many bytes more; raise HoldsTooMuch where there never will be."""
        if self.size + amount > self.memory.most:
            raise HoldsTooMuch
        if self.memory.may_pass(self, amount):
            self.memory.grant(self, amount)
        else:
            await self.memory.wait(self, amount)

    def give_back(self, amount: int | None = None) -> None:
        """Give back so many bytes, or all."""
        if amount := self.size if amount is None else amount:
            self.memory.give_back(self, amount)


class Part:
    """What one answer takes of a holding; it stays taken unless it is given back."""

    __slots__ = ("holding", "is_waiting", "size")

    def __init__(self, holding: Holding) -> None:
        self.holding = holding
        self.size = 0
        self.is_waiting = False

    async def become(self, size: int) -> None:
        """Return once the part has so many bytes, more or fewer than now; up to FREE are none."""
        size = size if size > FREE else 0
        if size > self.size:
            self.is_waiting = True
            await self.holding.take(size - self.size)
            self.is_waiting = False  # stays where the time for it was over
        elif size < self.size:
            self.holding.give_back(self.size - size)
        self.size = size

    def give_back(self) -> None:
        if self.size:
            self.holding.give_back(self.size)
        self.size = 0


class _Waiting:
    __slots__ = ("amount", "granted", "holding")

    def __init__(self, holding: Holding, amount: int) -> None:
        self.holding = holding
        self.amount = amount
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

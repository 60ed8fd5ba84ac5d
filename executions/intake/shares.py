"""Budgets: how much of something each owner holds, counted in memory, so that none takes what belongs to the others."""

from __future__ import annotations

from collections.abc import Hashable


class Shares:
    """What each owner holds of one thing: at most `limit`, and all owners together at most `total`."""

    __slots__ = ("held", "limit", "sum", "total")

    def __init__(self, limit: int, total: int | None = None) -> None:
        self.limit = limit
        self.total = total
        self.sum = 0
        self.held: dict[Hashable, int] = {}

    def take(self, owner: Hashable, amount: int = 1) -> bool:
        """Take some for an owner; return False, and take nothing, when its share or the total is used up."""
        now = self.held.get(owner, 0) + amount
        if now > self.limit or (self.total is not None and self.sum + amount > self.total):
            return False
        self.held[owner] = now
        self.sum += amount
        return True

    def give_back(self, owner: Hashable, amount: int = 1) -> None:
        self.sum -= amount
        left = self.held[owner] - amount
        if left:
            self.held[owner] = left
        else:
            del self.held[owner]

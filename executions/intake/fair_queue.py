"""A queue of many owners who are served in turn, so that a flood of one delays the others little."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Hashable


class FairQueue[Item]:
    """Items by owner, or by owner and owner's part (an address and its sessions), first in first out for each."""

    def __init__(self) -> None:
        self.count = 0
        # In the order of their turns; an owner without items is not in it.
        self._lines: OrderedDict[Hashable, FairQueue[Item] | deque[Item]] = OrderedDict()

    def __len__(self) -> int:
        return self.count

    def put(self, item: Item, owner: Hashable, *parts: Hashable) -> None:
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = FairQueue() if parts else deque()
        if isinstance(line, FairQueue):
            line.put(item, *parts)
        else:
            line.append(item)
        self.count += 1

    def take(self, busy: Collection[Hashable] = ()) -> Item | None:
        """Return the next item of the owner whose turn it is, passing over owners and parts in `busy`; else None."""
        for owner in self._lines:
            line = self._lines[owner]
            if owner in busy:
                continue
            item = line.take(busy) if isinstance(line, FairQueue) else line.popleft()
            if item is None:
                continue
            if line:
                self._lines.move_to_end(owner)
            else:
                del self._lines[owner]
            self.count -= 1
            return item
        return None

    def remove(self, item: Item, owner: Hashable, *parts: Hashable) -> bool:
        """Take this item out; return False when it has been taken already."""
        line = self._lines.get(owner)
        if line is None:
            return False
        if isinstance(line, FairQueue):
            if not line.remove(item, *parts):
                return False
        else:
            try:
                line.remove(item)
            except ValueError:
                return False
        if not line:
            del self._lines[owner]
        self.count -= 1
        return True

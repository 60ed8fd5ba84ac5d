"""The claimed executions that have not begun: organizations take turns, whoever has many of them."""

from __future__ import annotations

import heapq
import uuid
from collections import deque
from collections.abc import Iterable
from itertools import count

from executions.engine.work import Work


class Line:
    """Gives out works by organization in turn; of one organization the sync lane first, then in the order they came."""

    def __init__(self, works: Iterable[Work] = ()) -> None:
        self._heaps: dict[uuid.UUID, list[tuple[int, int, Work]]] = {}
        self._turns: deque[uuid.UUID] = deque()
        self._numbers = count()
        self._length = 0
        self.add(works)

    def __len__(self) -> int:
        return self._length

    def add(self, works: Iterable[Work]) -> None:
        for work in works:
            organization_id = work.execution.organization_id
            heap = self._heaps.get(organization_id)
            if heap is None:
                heap = self._heaps[organization_id] = []
                self._turns.append(organization_id)
            heapq.heappush(heap, (work.execution.lane, next(self._numbers), work))
            self._length += 1

    def pop(self) -> Work:
        """Take the next work out; the line must not be empty."""
        organization_id = self._turns.popleft()
        heap = self._heaps[organization_id]
        _, _, work = heapq.heappop(heap)
        self._length -= 1
        if heap:
            self._turns.append(organization_id)
        else:
            del self._heaps[organization_id]
        return work

    def works(self) -> list[Work]:
        """Return all works, those of one organization in the order of their turns."""
        return [work for heap in self._heaps.values() for _, _, work in sorted(heap, key=lambda entry: entry[:2])]

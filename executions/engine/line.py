"""The claimed executions that have not begun: organizations take turns, whoever has many of them."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable

from executions.engine.work import Work
from executions.states import Lane


class Line:
    """Gives out works by organization in turn; of one organization the sync lane first, then in the order they came."""

    def __init__(self, works: Iterable[Work] = ()) -> None:
        self._lanes: dict[uuid.UUID, tuple[deque[Work], ...]] = {}  # by organization, each by number
        self._turns: deque[uuid.UUID] = deque()
        self._length = 0
        self.add(works)

    def __len__(self) -> int:
        return self._length

    def add(self, works: Iterable[Work]) -> None:
        for work in works:
            execution = work.execution
            lanes = self._lanes.get(execution.organization_id)
            if lanes is None:
                lanes = self._lanes[execution.organization_id] = tuple(deque() for _ in Lane)
                self._turns.append(execution.organization_id)
            lanes[execution.lane].append(work)
            self._length += 1

    def pop(self) -> Work:
        """Take the next work out; the line must not be empty."""
        organization_id = self._turns.popleft()
        lanes = self._lanes[organization_id]
        work = next(lane for lane in lanes if lane).popleft()
        self._length -= 1
        if any(lanes):
            self._turns.append(organization_id)
        else:
            del self._lanes[organization_id]
        return work

    def works(self) -> list[Work]:
        """Return all works, those of one organization in the order of their turns."""
        return [work for lanes in self._lanes.values() for lane in lanes for work in lane]

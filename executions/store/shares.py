"""Fair shares: how a claim is divided among the organizations whose executions wait."""

from __future__ import annotations

import heapq
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

ORGANIZATIONS_A_CLAIM = 50  # more are looked at from claim to claim, in the order of their ids
NO_BOUND = 2**31
FIRST = uuid.UUID(int=0)  # comes before every organization


def divide(waiting: Sequence[Any], held: Mapping[Any, int], limit: int, most: int) -> dict[Any, int]:
    """Return how many executions each of the waiting organizations may start, `limit` in all.

    The next one goes to the organization that holds the fewest slots then, by the order of `waiting` among equals. None
    gets more than `most` slots, those that it holds included.
    """
    if len(waiting) == 1:
        only = min(limit, most - held.get(waiting[0], 0))
        return {waiting[0]: only} if only > 0 else {}
    order = [(held.get(organization, 0), place) for place, organization in enumerate(waiting)]
    heapq.heapify(order)
    quotas: Counter[Any] = Counter()
    while order and limit > 0 and order[0][0] < most:
        slots, place = order[0]
        quotas[waiting[place]] += 1
        heapq.heapreplace(order, (slots + 1, place))
        limit -= 1
    return dict(quotas)

"""Computing for one organization: what is small at once, the rest in a child."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from concurrent.futures import Future

from connectors.compute.pool import Pool
from connectors.sdk import mapping
from connectors.sdk.budget import OverBudget, TooLarge, budget
from connectors.sdk.call import JSON, StepError
from connectors.sdk.conditions import Group, judge, needed
from connectors.sdk.query import search


class Compute:
    """Renders templates, applies queries and judges conditions for one organization, without holding up the others.

    Each is first done here with a small budget; what exceeds it is done again from its start in a child. The methods
    that end in `_now` wait for it in their thread, the others in the event loop.
    """

    __slots__ = ("owner", "pool")

    def __init__(self, pool: Pool, owner: Hashable) -> None:
        self.pool = pool
        self.owner = owner

    async def render(self, value: JSON, scope: Mapping[str, JSON]) -> JSON:
        """Return the value with its templates rendered; raise MappingError or StepError."""
        return await awaited(self._rendered(value, scope))

    def render_now(self, value: JSON, scope: Mapping[str, JSON]) -> JSON:
        return _result(self._rendered(value, scope))

    async def search(self, expression: str, source: JSON) -> JSON:
        """Return what a JMESPath query finds in a value; raise StepError."""
        return await awaited(self._found(expression, source))

    async def judge(self, group: Group, scope: Mapping[str, JSON]) -> str:
        """Return why the conditions do not hold, empty when they do; raise StepError."""
        return str(await awaited(self.judging(group, scope)))

    def judging(self, group: Group, scope: Mapping[str, JSON]) -> JSON | Future[JSON]:
        """Return the same, or the future of it: see `awaited`."""
        try:
            with budget():
                return judge(group, scope)
        except OverBudget:
            members = group.model_dump(mode="json", exclude_none=True)
            return self.pool.submit(self.owner, "judge", members, needed(group, scope))
        except TooLarge as error:
            raise StepError(str(error), code="too_large_to_compute") from None

    def judge_now(self, group: Group, scope: Mapping[str, JSON]) -> str:
        return str(_result(self.judging(group, scope)))

    # --- each returns a result, or one to come

    def _rendered(self, value: JSON, scope: Mapping[str, JSON]) -> JSON | Future[JSON]:
        try:
            with budget():
                return mapping.render(value, scope)
        except OverBudget:
            return self.pool.submit(self.owner, "render", value, mapping.needed(value, scope))

    def _found(self, expression: str, source: JSON) -> JSON | Future[JSON]:
        try:
            with budget():
                return search(expression, source)
        except OverBudget:
            return self.pool.submit(self.owner, "search", expression, source)


async def awaited(result: JSON | Future[JSON]) -> JSON:
    return await asyncio.wrap_future(result) if isinstance(result, Future) else result


def _result(result: JSON | Future[JSON]) -> JSON:
    return result.result() if isinstance(result, Future) else result

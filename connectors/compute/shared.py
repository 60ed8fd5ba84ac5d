"""Computing for one organization: what is small at once, the rest in a child."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from concurrent.futures import Future

from connectors.compute.pool import Pool
from connectors.sdk import mapping
from connectors.sdk.budget import INLINE, OverBudget, TooLarge, budget
from connectors.sdk.call import JSON, StepError
from connectors.sdk.conditions import Group, judge, needed
from connectors.sdk.query import search


class Compute:
    """Renders templates, applies queries and judges conditions for one organization, without holding up the others.

    Each is first done here with a small budget; what exceeds it is done again from its start in a child. The methods
    that end in `_now` wait for it in their thread, the others in the event loop.
    """

    __slots__ = ("owner", "pool", "spent")

    def __init__(self, pool: Pool, owner: Hashable) -> None:
        self.pool = pool
        self.owner = owner
        self.spent = 0  # units since the event loop last had its turn

    def render(self, value: JSON, scope: Mapping[str, JSON]) -> Awaitable[JSON]:
        """Return the value with its templates rendered; raise MappingError or StepError."""
        return self.awaited(self._rendered(value, scope))

    def render_now(self, value: JSON, scope: Mapping[str, JSON]) -> JSON:
        return _result(self._rendered(value, scope))

    async def search(self, expression: str, source: JSON) -> JSON:
        """Return what a JMESPath query finds in a value; raise StepError."""
        return await self.awaited(self._done(search, (expression, source), "search", lambda: (expression, source)))

    async def judge(self, group: Group, scope: Mapping[str, JSON]) -> str:
        """Return why the conditions do not hold, empty when they do; raise StepError."""
        return str(await self.awaited(self.judging(group, scope)))

    def judging(self, group: Group, scope: Mapping[str, JSON]) -> JSON | Future[JSON]:
        """Return the same for `awaited`, from any thread: the result, or the future of it; raise StepError."""
        try:
            return self._done(
                judge,
                (group, scope),
                "judge",
                lambda: (group.model_dump(mode="json", exclude_none=True), needed(group, scope)),
            )
        except TooLarge as error:
            raise StepError(str(error), code="too_large_to_compute") from None

    async def awaited(self, result: JSON | Future[JSON]) -> JSON:
        """Return the result, and give others their turn after work that adds up, as that of a hundred steps does."""
        if isinstance(result, Future):
            self.spent = 0
            return await asyncio.wrap_future(result)
        if self.spent > INLINE:
            self.spent = 0
            await asyncio.sleep(0)
        return result

    def judge_now(self, group: Group, scope: Mapping[str, JSON]) -> str:
        return str(_result(self.judging(group, scope)))

    # --- each returns a result, or one to come

    def _rendered(self, value: JSON, scope: Mapping[str, JSON]) -> JSON | Future[JSON]:
        return self._done(mapping.render, (value, scope), "render", lambda: (value, mapping.needed(value, scope)))

    def _done[*A](
        self, here: Callable[[*A], JSON], arguments: tuple[*A], job: str, needed: Callable[[], tuple[JSON, ...]]
    ) -> JSON | Future[JSON]:
        """Return what `here` computes of the arguments within the budget, or the result to come of a job in a child."""
        allowed = budget()
        try:
            with allowed:
                return here(*arguments)
        except OverBudget:
            return self.pool.submit(self.owner, job, *needed())
        finally:
            self.spent += allowed.spent


def _result(result: JSON | Future[JSON]) -> JSON:
    return result.result() if isinstance(result, Future) else result

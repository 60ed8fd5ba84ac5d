"""Fair shares: whoever comes finds a place, however much another one takes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter

import pytest
from aiohttp import web

from connectors.outbound.client import Outbound
from connectors.outbound.shares import Shares
from tests.support.acting import LOOPBACK, Remote, ok


class Crowd:
    """Askers that hold their places until told to go."""

    def __init__(self, total: int) -> None:
        self.shares = Shares(total)
        self.holding: Counter[str] = Counter()
        self.may_go: dict[str, asyncio.Event] = {}
        self.tasks: list[asyncio.Task[None]] = []

    def come(self, asker: str, count: int) -> None:
        self.may_go.setdefault(asker, asyncio.Event())
        self.tasks += [asyncio.create_task(self._hold(asker)) for _ in range(count)]

    async def _hold(self, asker: str) -> None:
        async with self.shares.of(asker):
            self.holding[asker] += 1
            await self.may_go[asker].wait()
            self.holding[asker] -= 1

    async def settle(self) -> dict[str, int]:
        for _ in range(20):
            await asyncio.sleep(0)
        return {asker: count for asker, count in self.holding.items() if count}


def test_one_alone_gets_half_and_each_newcomer_a_place() -> None:
    async def scenario() -> list[dict[str, int]]:
        crowd, seen = Crowd(12), []
        for asker in "ABCD":
            crowd.come(asker, 20)
            seen.append(await crowd.settle())
        crowd.may_go["A"].set()
        seen.append(await crowd.settle())
        for asker in "BCD":
            crowd.may_go[asker].set()
        await asyncio.gather(*crowd.tasks)
        assert (crowd.shares.free, dict(crowd.shares.held), crowd.shares.waiting) == (12, {}, {})
        return seen

    seen = asyncio.run(scenario())

    assert seen[0] == {"A": 6}
    assert seen[1] == {"A": 6, "B": 3}
    assert seen[2]["C"] >= 1 and seen[3]["D"] >= 1
    assert min(seen[4].get(asker, 0) for asker in "BCD") >= 2


@pytest.mark.parametrize("seed", range(20))
def test_cancelling_at_any_moment_loses_no_place(seed: int) -> None:
    rng = random.Random(seed)

    async def scenario() -> Shares:
        shares = Shares(rng.choice([1, 2, 5]))

        async def work(asker: str) -> None:
            async with shares.of(asker):
                for _ in range(rng.randrange(3)):
                    await asyncio.sleep(0)

        tasks: list[asyncio.Task[None]] = []
        for _ in range(200):
            tasks.append(asyncio.create_task(work(rng.choice("ABC"))))
            if rng.random() < 0.5:
                rng.choice(tasks).cancel()
            if rng.random() < 0.3:
                await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await asyncio.gather(*tasks, return_exceptions=True)
        return shares

    shares = asyncio.run(scenario())

    assert (dict(shares.held), shares.waiting) == ({}, {})
    assert shares.free in (1, 2, 5)


def test_one_who_is_cancelled_as_a_place_falls_free_leaves_it_to_the_next() -> None:
    async def scenario() -> dict[str, int]:
        crowd = Crowd(2)
        crowd.come("A", 3)
        assert await crowd.settle() == {"A": 1}
        crowd.may_go["A"].set()  # the one with the place is woken first, and finds the cancelled one in the line
        crowd.tasks[1].cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(*crowd.tasks, return_exceptions=True)
        return dict(crowd.shares.held)

    assert asyncio.run(scenario()) == {}


def test_slow_calls_of_one_organization_leave_connections_to_others() -> None:
    async def scenario() -> int:
        gone = asyncio.Event()

        async def slow(request: web.Request) -> web.StreamResponse:
            if request.path == "/slow":
                await gone.wait()
            return web.Response()

        async with Remote(slow) as remote, Outbound(LOOPBACK) as http:
            http.connections = Shares(10)
            tasks = [asyncio.create_task(http.of("A").request("GET", f"{remote.url}slow")) for _ in range(50)]
            await asyncio.sleep(0)
            answers = await asyncio.gather(*(http.of("B").request("GET", remote.url) for _ in range(20)))
            assert not any(task.done() for task in tasks)
            gone.set()
            answers += await asyncio.gather(*tasks)
            return Counter(answer.status for answer in answers)[200]

    assert asyncio.run(scenario()) == 70


def test_waiting_for_ones_share_is_not_the_services_time() -> None:
    async def scenario() -> list[int]:
        async with Remote(ok) as remote, Outbound(LOOPBACK) as http:
            http.connections = Shares(1)
            async with contextlib.AsyncExitStack() as held:
                await held.enter_async_context(http.connections.of("A"))
                tasks = [asyncio.create_task(http.of("A").request("GET", remote.url, timeout_s=0.2)) for _ in range(2)]
                await asyncio.sleep(0.4)
                assert not any(task.done() for task in tasks)
            return [(await task).status for task in tasks]

    assert asyncio.run(scenario()) == [200, 200]

"""Large answers: how much of them is held at once, who waits for room, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
import json
import random
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from connectors.outbound.client import ExecutionOutbound, Outbound
from connectors.outbound.holding import FREE, MEGABYTE, HoldsTooMuch, Memory
from connectors.sdk.answer import parsed_body, weight_held
from connectors.sdk.call import HttpResponse, StepError
from executions import sealed_json
from tests.support.acting import LOOPBACK, Remote

LARGE = 2 * MEGABYTE
WEIGHT = 2 * LARGE  # as a value, and as the text to store
TOTAL = 6 * WEIGHT


async def large(request: web.Request) -> web.StreamResponse:
    return web.Response(text="x" * LARGE)


async def unfinished(request: web.Request) -> web.StreamResponse:
    """Promise a large answer, send the half, and wait; a large one at once at any other path."""
    if request.path != "/unfinished":
        return await large(request)
    response = web.StreamResponse(headers={"Content-Length": str(LARGE)})
    await response.prepare(request)
    await response.write(b"x" * (LARGE // 2))
    await asyncio.sleep(60)
    return response


def run[Result](
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
    scenario: Callable[[Outbound, str], Awaitable[Result]],
    memory: Memory | None = None,
) -> Result:
    async def main() -> Result:
        http = Outbound(LOOPBACK, memory=memory or Memory(TOTAL))
        async with Remote(answer) as remote, asyncio.timeout(30), http:
            return await scenario(http, remote.url)

    return asyncio.run(main())


async def read(port: ExecutionOutbound, url: str) -> int:
    return len((await port.request("GET", url)).body)


async def failure(port: ExecutionOutbound, url: str, **options: float) -> StepError:
    with pytest.raises(StepError) as raised:
        await port.request("GET", url, **options)
    return raised.value


def test_one_organization_holds_half_and_one_execution_more() -> None:
    async def scenario(http: Outbound, url: str) -> tuple[list[int], int]:
        most = 0

        async def execute() -> int:
            nonlocal most
            port = http.of("A")
            size = await read(port, url)
            most = max(most, http.memory.used)
            await asyncio.sleep(0.01)
            port.holding.give_back()
            return size

        sizes = await asyncio.gather(*(execute() for _ in range(30)))
        assert http.memory.used == 0
        return sizes, most

    sizes, most = run(large, scenario)

    assert sizes == [LARGE] * 30
    assert most == TOTAL // 2 + WEIGHT


def test_who_drips_large_answers_keeps_no_neighbour_waiting() -> None:
    async def scenario(http: Outbound, url: str) -> list[int]:
        slow = [asyncio.create_task(read(http.of("A"), f"{url}unfinished")) for _ in range(30)]
        while http.memory.used < TOTAL // 2 + WEIGHT:
            await asyncio.sleep(0.01)
        mine = [http.of("B") for _ in range(2)]
        sizes = await asyncio.gather(*(read(port, url) for port in mine))
        assert not any(task.done() for task in slow)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        assert http.memory.used == 2 * WEIGHT, "what B still holds"
        return sizes

    assert run(unfinished, scenario) == [LARGE] * 2


def test_executions_that_hold_answers_and_ask_for_more_do_not_wait_for_each_other_for_ever() -> None:
    async def scenario(http: Outbound, url: str) -> list[int]:
        async def execute() -> int:
            port = http.of("A")
            total = sum([await read(port, url) for _ in range(5)])
            port.holding.give_back()
            return total

        return await asyncio.gather(*(execute() for _ in range(10)))

    assert run(large, scenario) == [5 * LARGE] * 10


def test_step_whose_time_is_over_while_it_waits_for_room_says_so() -> None:
    async def scenario(http: Outbound, url: str) -> StepError:
        holders = [http.of("A") for _ in range(TOTAL // 2 // WEIGHT + 1)]
        await asyncio.gather(*(read(port, url) for port in holders))
        before = http.memory.used
        error = await failure(http.of("A"), url, timeout_s=0.3)
        assert http.memory.used == before
        return error

    error = run(large, scenario)

    assert (error.code, error.retryable, error.external) == ("timeout", True, False)
    assert "other executions of the organization hold all the memory" in error.message


def test_execution_may_not_hold_more_than_there_is_for_one() -> None:
    async def scenario(http: Outbound, url: str) -> tuple[StepError, int]:
        port = http.of("A")
        await read(port, url)
        return await failure(port, url), http.memory.used

    error, used = run(large, scenario, Memory(TOTAL, most=WEIGHT + 1))

    assert (error.code, used) == ("too_large", WEIGHT)
    assert "that this execution uses" in error.message


def test_small_answers_and_answers_on_the_way_are_not_held() -> None:
    async def redirect(request: web.Request) -> web.StreamResponse:
        if request.path == "/":
            return web.Response(status=302, headers={"Location": "/end"}, text="x" * LARGE)
        return web.Response(text="x" * (FREE // 2))

    async def scenario(http: Outbound, url: str) -> int:
        await read(http.of("A"), url)
        await http.request("GET", f"{url}end")
        return http.memory.used

    assert run(redirect, scenario) == 0


@pytest.mark.parametrize("seed", range(20))
def test_cancelling_at_any_moment_loses_no_room(seed: int) -> None:
    rng = random.Random(seed)

    async def scenario() -> Memory:
        memory = Memory(rng.choice([10, 30, 100]), most=60)

        async def execute(owner: str) -> None:
            holding = memory.of(owner)
            try:
                for _ in range(rng.randrange(1, 4)):
                    await holding.take(rng.randrange(1, 21))
                    await asyncio.sleep(0)
            finally:
                holding.give_back()

        tasks: list[asyncio.Task[None]] = []
        for _ in range(200):
            tasks.append(asyncio.create_task(execute(rng.choice("ABC"))))
            if rng.random() < 0.5:
                rng.choice(tasks).cancel()
            if rng.random() < 0.3:
                await asyncio.sleep(0)
        async with asyncio.timeout(10):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [one for one in results if isinstance(one, Exception) and not isinstance(one, HoldsTooMuch)]
        return memory

    memory = asyncio.run(scenario())

    assert (memory.used, memory._shared, memory._alone, memory._waiting) == (0, {}, {}, {})
    assert memory.free in (10, 30, 100)


MANY = 20_000
BODIES = {
    "text": ("text/plain", b"a" * 1_000_000),
    "text with one wide character": ("text/plain", b"a" * 1_000_000 + "\U0001f600".encode()),
    "text of Greek": ("text/html", "α".encode() * 500_000),
    "lists": ("application/json", b"[" + b"[]," * MANY + b"[]]"),
    "objects": ("application/json", b"[" + b'{"":0},' * MANY + b"{}]"),
    "numbers": ("application/json", b"[" + b"1.5," * MANY + b"1]"),
    "short texts": ("application/json", ("[" + '"éx",' * MANY + "1]").encode()),
    "keys": ("application/json", json.dumps({f"key {number}": 0 for number in range(MANY)}).encode()),
    "orders": (
        "application/problem+json; charset=utf-8",
        json.dumps([{"id": n, "who": f"Ada {n}", "lines": [{"sku": f"A{n}", "n": 2.5}]} for n in range(MANY)]).encode(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", BODIES)
def test_answer_is_never_heavier_than_it_was_weighed(shape: str) -> None:
    kind, body = BODIES[shape]
    response = HttpResponse(status=200, headers={"content-type": kind}, body=body, url="")
    tracemalloc.start()
    try:
        value = parsed_body(response)
        kept = value, sealed_json.sealed(value, (), None)  # type: ignore[arg-type]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept
    assert held <= weight_held(response) + 50_000

"""What the tests of connectors share: a remote on loopback, an outbox, and a way to run an action."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from connectors.compute.pool import Pool
from connectors.compute.shared import Compute
from connectors.outbound.addresses import parse_allow
from connectors.outbound.client import Outbound
from connectors.registry import find_action
from connectors.sdk.call import JSON, Call, Message, StepError

LOOPBACK = parse_allow("127.0.0.0/8")
COMPUTE = Compute(Pool(seconds=2), "tests")
NOTHING_ALLOWED = parse_allow("")

type Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Remote:
    """A server on loopback that answers with what a test gives it, and remembers what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[web.Request, bytes]] = []
        self.runner = web.AppRunner(self._application(), handle_signals=False, shutdown_timeout=0.1)
        self.port = 0

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=50 * 1024 * 1024)
        application.router.add_route("*", "/{rest:.*}", self._handle)
        return application

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request, await request.read()))
        return await self.answer(request)

    async def __aenter__(self) -> Remote:
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = self.runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@dataclass
class Outbox:
    """Keeps the messages of steps instead of sending them."""

    messages: list[tuple[Message, str]] = field(default_factory=list)

    async def send(self, message: Message, *, key: str) -> str:
        self.messages.append((message, key))
        return "<1@agentos>"


async def run_action(connector: str, action: str, given: dict[str, Any], **more: Any) -> JSON:
    """Check the input as at run time and run the action, with the network on loopback only."""
    found = find_action(connector, action)
    assert found is not None
    async with Outbound(LOOPBACK) as outbound:
        options = {"idempotency_key": "e-1-call-0", "http": outbound, "mail": Outbox(), "compute": COMPUTE, **more}
        return await found.run(Call(input=found.input.model_validate(given), **options))


async def ok(request: web.Request) -> web.StreamResponse:
    return web.Response(text="ok")


async def failure(url: str, *, outbound: Outbound | None = None, **options: Any) -> StepError:
    """Return the error of a call that must fail; nothing private may be called unless the guard is given."""
    async with outbound or Outbound(NOTHING_ALLOWED) as http:
        with pytest.raises(StepError) as raised:
            await http.request("GET", url, **options)
    return raised.value

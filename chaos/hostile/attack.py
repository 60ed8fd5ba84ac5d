"""The common shape of the attacks: a name, the automations that the hostile organization makes, and one round."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.wire import Answer, Door

STRANGER = "127.0.0.66"  # the address of the attackers
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Design:
    """An automation of the hostile organization; `fields` are columns, `trigger` as `harness.factory` takes it."""

    steps: list[dict[str, Any]]
    trigger: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class Attack:
    """One kind of attack. `strike` is a round of it, bounded in number and time, and repeated after a pause."""

    name: str
    strike: Callable[[Field], Awaitable[None]]
    designs: Mapping[str, Design] = field(default_factory=dict)
    pause_s: float = 0.5
    least_s: float = 0.0  # of a turn, for what hurts only by lasting


@dataclass(frozen=True, slots=True)
class Made:
    """An automation that the product let the hostile organization make."""

    automation: str
    trigger: str


@dataclass(frozen=True, slots=True)
class Field:
    """What the attackers have: their own organization, servers of their own, and a stolen copy of the database."""

    port: int
    project: str
    user: str
    victim: str  # the name of another organization's user
    made: Mapping[str, Made]
    stolen: tuple[str, ...]  # ciphertexts of other organizations
    needle: str  # the secret in one of them
    remote: str  # the address of the hostile server
    hole: str  # an address that accepts no more connections
    loot: list[str] = field(default_factory=list)  # what came back with the secret in the clear
    cookies: dict[str, str] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)  # of the answers in one turn

    @property
    def door(self) -> Door:
        return Door(self.port, STRANGER, self.statuses)

    def path(self, name: str) -> str:
        """Return the path of an automation's trigger URL; LookupError when the product refused to make it."""
        return f"/automations-api/run/{self.made[name].trigger}"

    def page(self, rest: str) -> str:
        return f"/projects/{self.project}/{rest}"

    async def post(self, name: str, body: bytes, *, within: float = 35.0, **headers: str) -> Answer:
        answer = await self.door.post(self.path(name), body, within=within, **headers)
        self.look_at(answer.body, name)
        return answer

    async def session(self) -> str:
        """Return the cookies of the attackers' own session."""
        if not self.cookies:
            answer = await self.door.sign_in(self.user, self.user)
            if answer.status == 302:
                self.cookies["own"] = answer.cookies
        return self.cookies.get("own", "")

    def look_at(self, text: bytes, where: str) -> None:
        if self.needle.encode() in text:
            self.loot.append(where)


async def together(*each: Coroutine[Any, Any, Any], at_once: int = 0) -> None:
    """Run all, so many at once, and wait for all; errors of single ones end nothing."""
    gate = asyncio.Semaphore(at_once or len(each) or 1)

    async def one(what: Coroutine[Any, Any, Any]) -> None:
        try:
            async with gate:
                await what
        finally:
            what.close()  # if it never began

    await asyncio.gather(*(one(what) for what in each), return_exceptions=True)


def http(url: str = "{{ trigger.body.url }}", key: str = "ask", **fields: Any) -> dict[str, Any]:
    """Return a step that calls a URL."""
    values = {"method": "GET", "url": url, "timeout_s": 60}
    return {"key": key, "connector": "http", "action": "request", "input": values | fields}


def template(text: str, key: str = "text") -> dict[str, Any]:
    return {"key": key, "connector": "transform", "action": "template", "input": {"template": text}}


def reply(body: Any) -> dict[str, Any]:
    return {"key": "reply", "connector": "response", "action": "send", "input": {"body": body}}


def wait(amount: int, unit: str = "seconds") -> dict[str, Any]:
    return {"key": "wait", "connector": "wait", "action": "for", "input": {"amount": amount, "unit": unit}}

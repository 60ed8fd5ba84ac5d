"""The posted requests and their right ends, as pure functions of a request's number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from executions.states import Status
from harness.automations import RESPOND, TRANSFORM, WAIT, call

CANARY = "canary-5d1f7c9e-sings-nowhere"  # the secret that no log and no row may hold in the clear


@dataclass(frozen=True, slots=True)
class Kind:
    """An automation under test: its steps, and the ends that are right for it, with their reason codes."""

    steps: list[dict[str, Any]]
    ends: frozenset[tuple[Status, str]]
    path: str = "/"

    @property
    def keys(self) -> list[str]:
        return [step["key"] for step in self.steps]

    @property
    def calls(self) -> list[str]:
        return [step["key"] for step in self.steps if step["connector"] == "http"]

    @property
    def never_repeats(self) -> bool:
        return any(step.get("if_interrupted") == "never_repeat" for step in self.steps)


def outside(key: str, **fields: Any) -> dict[str, Any]:
    """Return a step that posts to the echo server and hands it the secret."""
    step = call(key, **fields)
    step["input"]["headers"] = [{"name": "X-Canary", "value": "{{ vars.CANARY }}"}]
    return step


POISON = {"key": "hurt", "title": "Hurt", "connector": "faulty", "action": "hurt",
          "input": {"fault": "die", "wait_s": 0.2}}  # fmt: skip
MAIL = {
    "key": "mail", "connector": "email", "action": "send",
    "input": {"to": "ada@example.com", "subject": "number {{ trigger.body.number }}"},
}  # fmt: skip
SUCCESS = frozenset({(Status.SUCCESS, "")})
ONCE = SUCCESS | {(Status.FAILED, "interrupted")}
LARGE = 300_000  # characters of an answer, so that it is stored apart from its step run
LONG_MS = 1500  # milliseconds, so that an attempt does not end while others still press Retry

KINDS: dict[str, Kind] = {
    "transform": Kind([TRANSFORM], SUCCESS),
    "chain": Kind([TRANSFORM, outside("first"), outside("second")], SUCCESS),
    "once": Kind([outside("call", if_interrupted="never_repeat")], ONCE),
    "wait": Kind([WAIT, TRANSFORM, outside("after")], SUCCESS),
    "respond": Kind([TRANSFORM, outside("ask"), RESPOND], SUCCESS),
    "mail": Kind([TRANSFORM, MAIL], ONCE),
    "fail": Kind([TRANSFORM, outside("call")], frozenset({(Status.FAILED, "http_500")}), path="/fail"),
    "poison": Kind([POISON], frozenset({(Status.REJECTED, "worker_died")})),
}
TURNS = ("transform", "chain", "once", "chain", "wait", "once", "respond", "respond", "chain", "once")


def kind_of(number: int) -> str:
    return TURNS[number % len(TURNS)]


def body_of(number: int, kind: str, echo: str) -> dict[str, Any]:
    """Return a request's body, the same byte for byte whenever it is posted again."""
    delay_ms = LONG_MS if kind == "fail" else (20, 200, 800)[number % 3]
    url = f"{echo}{KINDS[kind].path}?ms={delay_ms}&pad={LARGE if number % 100 == 7 else 0}"
    return {"number": number, "kind": kind, "name": f"ada {number}", "url": url, "text": "ü" * (number % 50)}


def is_keyed(number: int) -> bool:
    """Return whether a request has an Idempotency-Key, and so is repeated until it is accepted."""
    return number // len(TURNS) % 2 == 0

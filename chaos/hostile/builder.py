"""*Test* of hostile steps, in the builder's own session."""

from __future__ import annotations

from chaos.hostile.attack import Attack, Design, Field, http, template, together
from chaos.hostile.senders import LASTING_S
from chaos.hostile.templates import QUERIES, query

SPACES = "{% assign s = '               ' %}" + "{% assign s = s | append: s %}" * 16  # nearly a million
STEPS = {
    "test of a query": query("|".join(["[@,@]"] * 26)) | {"key": "tested"},
    "test of a text that grows": query(QUERIES["texts that grow"]) | {"key": "tested"},
    "test of a date": template(SPACES + "{{ s | date: '%Y' }}", "tested"),
    "test of a replacement": template(SPACES + "{{ s | replace: ' ', s }}", "tested"),
}  # fmt: skip
WAITING = 70  # more than the web server has threads
CALLS = {"test of punycode": "charset?name=punycode", "test of silence": "silence", "test of objects": "objects"}


def _designs() -> dict[str, Design]:
    sourced = {name: Design([step | {"input": step["input"] | _source(step)}], is_active=False)
               for name, step in STEPS.items()}  # fmt: skip
    # The server's address is known only later: a variable of the project tells it.
    calls = {
        name: Design([http("{{ vars.REMOTE }}/" + path, "tested")], is_active=False) for name, path in CALLS.items()
    }
    return sourced | calls


def _source(step: dict[str, object]) -> dict[str, object]:
    return {"source": {"t": 1}} if step["action"] == "query" else {}


DESIGNS = _designs()


async def test(field: Field) -> None:
    names = [name for name in DESIGNS if name in field.made and name != "test of silence"]
    await together(*(_press(field, name) for name in names), at_once=3)


async def test_and_wait(field: Field) -> None:
    await together(*(_press(field, "test of silence") for _ in range(WAITING)))


async def _press(field: Field, name: str) -> None:
    path = field.page(f"automations/{field.made[name].automation}/steps/tested/test/")
    await field.door.post_form(path, cookies=await field.session(), within=40.0)


ATTACKS = (
    Attack("tests of hostile steps", test, DESIGNS, pause_s=1.0),
    Attack(
        "tests that wait",
        test_and_wait,
        {"test of silence": DESIGNS["test of silence"]},
        pause_s=1.0,
        least_s=LASTING_S,
    ),
)

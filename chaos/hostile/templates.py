"""Templates, queries and conditions whose cost a sender or a builder chooses."""

from __future__ import annotations

import json
from typing import Any

from chaos.hostile.attack import Attack, Design, Field, reply, template, together

SIZE = 900_000  # characters: less than a text may have
TEXT, NAME = "trigger.body.text", "trigger.body.name"


def query(text: str) -> dict[str, Any]:
    return {"key": "query", "connector": "transform", "action": "query",
            "input": {"source": "{{ trigger.body }}", "query": text}}  # fmt: skip


def _body(**values: Any) -> bytes:
    return json.dumps(values).encode()


AT_SIGNS = _body(text="@" * SIZE, name="n" * 2200, format="%999999d" + " " * 800_000, when="2026-01-01")
SPACES = _body(text=" " * SIZE)
# What the parts of a date look like to a parser, without end.
DATES = [
    SPACES,
    *(_body(text=part * (SIZE // len(part))) for part in ("1", "1 ", "12:", "a.m. ", "jan", "T", "+0", ".")),
]
LIST = _body(text="", list=[""] * 300_000, name="n" * 2200)
ANGLES = _body(text="<" * SIZE)

TEXTS: dict[str, tuple[str, list[bytes]]] = {
    "date": (f"{{{{ {TEXT} | date: '%Y' }}}}", DATES),
    "format of a date": ("{{ trigger.body.when | date: trigger.body.format }}", [AT_SIGNS]),
    "replace": (f"{{{{ {TEXT} | replace: '@', {NAME} }}}}", [AT_SIGNS]),
    "join": (f"{{{{ trigger.body.list | join: {NAME} }}}}", [LIST]),
    "split and join": (f"{{{{ {TEXT} | split: '' | join: {NAME} }}}}", [AT_SIGNS]),
    "strip_html": (f"{{{{ {TEXT} | strip_html }}}}", [ANGLES, AT_SIGNS]),
    "squish": (f"{{{{ {TEXT} | squish | truncatewords: 400000 | escape_once }}}}", [SPACES, ANGLES]),
    "loops": (
        "{% for a in (1..100) %}{% for b in (1..100) %}{% for c in (1..100) %}"
        f"{{{{ {TEXT} | upcase | reverse | size }}}}{{% endfor %}}{{% endfor %}}{{% endfor %}}", [AT_SIGNS],
    ),
    "doubling": (
        "{% assign a = trigger.body.list %}" + "{% assign a = a | concat: a %}" * 12 + "{{ a | sort | uniq | size }}",
        [LIST],
    ),
    "contains": (
        "{% for a in (1..5000) %}" f"{{% if {TEXT} contains {NAME} %}}x{{% endif %}}" "{% endfor %}", [AT_SIGNS]
    ),
}  # fmt: skip
QUERIES = {
    **{f"{levels} levels": "|".join(["[@,@]"] * levels) for levels in (18, 22, 24)},
    "objects of objects": "|".join(["{a:@,b:@}"] * 20),
    "lists that grow": "|".join(["[@,@][]"] * 20),
    "texts that grow": "to_string(@)|" + "|".join(["join('',[@,@])"] * 22),
    "escapes that grow": "|".join(["to_string([@,@])"] * 11),
    "wide": "|".join([f"[{','.join('@' * 400)}]"] * 2) + "|[@,@,@,@,@,@,@,@]|[@,@,@,@,@,@,@,@]",
    "deep": "(" * 900 + "@" + ")" * 900,
    "not": "!" * 1900 + "@",
}
PATHS = ("trigger.body", "trigger", "trigger.body.text")
BIG = _body(text="c" * 2_500_000)
MEMBERS = (1000, 100)


def conditions(members: int, path: str) -> dict[str, Any]:
    return {"any": [{"path": path, "op": "contains", "value": f"c{number}"} for number in range(members)]}


TEMPLATES = {name: Design([template(text), reply("{{ text.value | size }}")]) for name, (text, _) in TEXTS.items()}
BOMBS = {name: Design([query(text), reply("{{ query }}")]) for name, text in QUERIES.items()}
CONDITIONS = {
    f"{members} conditions on {path}": Design([reply("x")], {"conditions": conditions(members, path)})
    for members in MEMBERS for path in PATHS
} | {
    f"a step with {members} conditions": Design([
        {"key": "only_if", "connector": "condition", "action": "continue_if",
         "input": {"conditions": conditions(members, "trigger.body")}}, reply("x"),
    ]) for members in MEMBERS
}  # fmt: skip


async def render(field: Field) -> None:
    await together(
        *(field.post(name, body, within=10.0) for name, (_, bodies) in TEXTS.items() for body in bodies
          if name in field.made), at_once=4,
    )  # fmt: skip


async def ask(field: Field) -> None:
    body = _body(t=1)
    await together(*(field.post(name, body, within=10.0) for name in BOMBS if name in field.made), at_once=3)


async def compare(field: Field) -> None:
    await together(*(field.post(name, BIG, within=10.0) for name in CONDITIONS if name in field.made), at_once=4)


ATTACKS = (
    Attack("costly templates", render, TEMPLATES, pause_s=1.0),
    Attack("JMESPath bombs", ask, BOMBS, pause_s=1.0),
    Attack("many conditions", compare, CONDITIONS, pause_s=1.0),
)

"""Forged seals: the marks around an encrypted secret, sent in by every way that text comes in."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from chaos.hostile.attack import Attack, Design, Field, http, reply, together

START, END = "\ue000sealed:", "\ue001"
SHORT = "AAAA"
FORGED = f"{START}{SHORT}{END}"
ECHO = {"key": "echo", "connector": "transform", "action": "fields",
        "input": {"fields": {"all": "{{ trigger.body }}", "query": "{{ trigger.query }}"}}}  # fmt: skip

DESIGNS = {
    "seal in a reply": Design([reply(FORGED)]),
    "seal in a reply's header": Design([
        {"key": "reply", "connector": "response", "action": "send",
         "input": {"body": "x", "headers": [{"name": "X-Seal", "value": "{{ trigger.body.seal }}"}]}},
    ]),
    "seal from a sender": Design([ECHO, reply("{{ trigger.body }}")]),
    "seal from a server": Design([http(), reply("{{ ask.body }}")]),
    "seal from a variable": Design([reply("{{ vars.SEAL }}")]),
    "seal put together": Design([reply("{{ trigger.body.start }}{{ trigger.body.rest }}")]),
    "seal in the key of an object": Design([reply({"found": "{{ trigger.body.nested }}"})]),
    "seal in the query": Design([reply("{{ trigger.query.seal }}")]),
}  # fmt: skip


def seals(stolen: tuple[str, ...]) -> list[str]:
    """Return seals of several shapes: too short, cut, without an end, doubled, and around stolen ciphertexts."""
    made = [FORGED, f"{START}{SHORT}", f"{START}{FORGED}{END}", f"{START}====={END}"]
    for text in stolen:
        made += [f"{START}{text}{END}", f"{START}{text[:-7]}{END}", f"{START}{text[:40]}=={END}"]
    return made


async def strike(field: Field) -> None:
    await together(*(_send(field, seal) for seal in seals(field.stolen)))


async def _send(field: Field, seal: str) -> None:
    body: dict[str, Any] = {
        "seal": seal, "start": seal[:9], "rest": seal[9:], "nested": {seal: [seal, {"deep": seal}]},
        "url": f"{field.remote}/echo?text={quote(seal)}",
    }  # fmt: skip
    text = json.dumps(body).encode()
    ways = [name for name in DESIGNS if name in field.made and name != "seal in the query"]
    await together(
        *(field.post(name, text) for name in ways),
        field.door.post(field.path("seal in the query") + f"?seal={quote(seal)}", text),
    )


ATTACKS = (Attack("forged seals", strike, DESIGNS, pause_s=2.0),)

"""Executions that hold slots, lines and threads for as long as they can."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence

from chaos.hostile.attack import JSON, Attack, Design, Field, http, template, together
from chaos.mailbox import SLOW

CONNECTIONS = 16
SLOW_CALLS = 1500  # of a round
BACKLOG = 5000
RESUMED = 1000
RESUME_S = 6.0
LINE = 1000
MAILS = 60
HOLES = 300
NAMES = 120

WORK = template("{{ trigger.body.name | upcase }}")
DESIGNS = {
    "slow call": Design([http()]),
    "quick": Design([WORK]),
    "throttled": Design([WORK], fields={"is_throttled": True}),
    "resumes": Design([
        {"key": "wait", "connector": "wait", "action": "for", "input": {"amount": "{{ trigger.body.s }}"}}, WORK,
    ]),
    "mails": Design([
        {"key": "mail", "connector": "email", "action": "send",
         "input": {"to": f"eve@{SLOW}", "subject": "Hello"}},
    ]),
}  # fmt: skip


async def pump(field: Field, name: str, bodies: Sequence[bytes]) -> None:
    """Post all as fast as a few connections carry them."""
    path, door = field.path(name), field.door
    requests = iter([
        door.request("POST", path, {"Content-Type": JSON, "Connection": "keep-alive"}, body) for body in bodies
    ])  # fmt: skip
    await together(*(_post_all(field, requests) for _ in range(CONNECTIONS)))


async def _post_all(field: Field, requests: Iterator[bytes]) -> None:
    reader, writer = await field.door.connect()
    try:
        for request in requests:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
    finally:
        writer.transport.abort()


def _body(**values: object) -> bytes:
    return json.dumps(values).encode()


async def call_slowly(field: Field) -> None:
    await pump(field, "slow call", [_body(url=f"{field.remote}/slow")] * SLOW_CALLS)


async def pile_up(field: Field) -> None:
    await pump(field, "quick", [_body(name="ada")] * BACKLOG)


async def stand_in_line(field: Field) -> None:
    await pump(field, "throttled", [_body(name="ada")] * LINE)


async def resume_at_once(field: Field) -> None:
    """Let all go on at one instant, whenever each was accepted."""
    at = time.time() + RESUME_S
    for start in range(0, RESUMED, 100):
        await pump(
            field, "resumes", [_body(name="ada", s=round(max(1.0, at - time.time()), 3))] * min(100, RESUMED - start)
        )
    await asyncio.sleep(max(0.0, at - time.time()))


async def mail_to_a_drip(field: Field) -> None:
    await pump(field, "mails", [b"{}"] * MAILS)


async def call_a_hole(field: Field) -> None:
    await pump(field, "slow call", [_body(url=field.hole)] * HOLES)


async def call_names(field: Field) -> None:
    urls = [f"http://n{time.time_ns()}-{number}.silent.example/" for number in range(NAMES)]
    await pump(field, "slow call", [_body(url=url) for url in urls])


ATTACKS = (
    Attack("slow calls", call_slowly, DESIGNS, pause_s=1.0),
    Attack("backlog", pile_up, DESIGNS, pause_s=1.0),
    Attack("throttled line", stand_in_line, DESIGNS, pause_s=2.0),
    Attack("resumed at one instant", resume_at_once, DESIGNS, pause_s=1.0),
    Attack("mail that drips", mail_to_a_drip, DESIGNS, pause_s=2.0),
    Attack("addresses that hang", call_a_hole, DESIGNS, pause_s=2.0),
    Attack("names that hang", call_names, DESIGNS, pause_s=2.0),
)

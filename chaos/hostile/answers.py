"""Every bad answer of a hostile server, to a step that calls it and to the steps that use what it said."""

from __future__ import annotations

import json

from chaos.hostile.attack import Attack, Design, Field, http, reply, template, together

CODECS = (
    "punycode", "idna", "utf-7", "unicode_escape", "raw_unicode_escape", "utf-16", "utf-32", "hz", "iso2022_jp_ext",
    "gb18030", "cp932", "bz2", "zlib", "rot13", "undefined", "x" * 4000,
)  # fmt: skip
BODIES = (
    "deep", "very-deep", "digits", "objects", "numbers", "keys", "escapes", "brackets", "gzip", "gzip-twice", "loop",
    "headers", "short-headers", "informational", "huge", "chunks", "chunk-extensions", "cookies", "cut", "garbage",
)  # fmt: skip
DRIPS = ("drip", "drip-head", "drip-status", "silence")
DRIPPING = 40  # calls of each

DESIGNS = {
    "asks": Design([http()]),
    "asks and uses": Design([http(), template("{{ ask.body }}{{ ask.body | strip_html }}"), reply("{{ ask.body }}")]),
}


async def decode(field: Field) -> None:
    await _ask(field, [f"charset?name={codec}" for codec in CODECS], at_once=4)


async def read(field: Field) -> None:
    await _ask(field, BODIES, at_once=4)


async def wait(field: Field) -> None:
    await _ask(field, [path for path in DRIPS for _ in range(DRIPPING)], at_once=20)


async def _ask(field: Field, paths: list[str] | tuple[str, ...], *, at_once: int) -> None:
    bodies = [json.dumps({"url": f"{field.remote}/{path}"}).encode() for path in paths]
    await together(
        *(field.post(name, body, within=5.0) for body in bodies for name in DESIGNS), at_once=at_once
    )  # fmt: skip


ATTACKS = (
    Attack("costly character sets", decode, DESIGNS, pause_s=2.0),
    Attack("bad answers", read, DESIGNS, pause_s=2.0),
    Attack("dripping answers", wait, DESIGNS, pause_s=2.0),
)

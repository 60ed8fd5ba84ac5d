"""JSON text to values and back, exact: integers keep all their digits."""

from __future__ import annotations

import json
from typing import cast

import orjson

from connectors.sdk.call import JSON

REPLACEMENT = "\ufffd"
DIGITS = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
LONG = 19  # digits; orjson turns integers past 64 bits into floats


def has_long_number(raw: bytes, digits: int = LONG) -> bool:
    """Return whether JSON text may hold an integer past 64 bits, in a tenth of a regular expression's time."""
    return b"0" * digits in raw.translate(DIGITS)


def loads(text: str | bytes) -> JSON:
    """Return the value of JSON text, integers with all their digits; raise ValueError when it is none.

    loads(b'{"id": 12345678901234567890}')["id"]  # 12345678901234567890, not 1.2345678901234567e19
    """
    raw = text.encode() if isinstance(text, str) else text
    if has_long_number(raw):
        return cast(JSON, json.loads(raw))
    return cast(JSON, orjson.loads(raw))


def dumps(value: JSON) -> bytes:
    """Return the value as JSON text in UTF-8, with lone surrogates replaced: some answers have them, no text may."""
    try:
        return orjson.dumps(value)
    except TypeError:  # integers past 64 bits, lone surrogates
        return storable(json.dumps(value, separators=(",", ":"), ensure_ascii=False)).encode()


def storable(text: str) -> str:
    """Return the text with what neither UTF-8 nor PostgreSQL can hold replaced."""
    # UTF-16 joins the halves that belong together, which UTF-8 would refuse one by one.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", REPLACEMENT)

"""JSON text to values and back, exact: integers keep all their digits."""

from __future__ import annotations

import json
from typing import cast

import orjson

from connectors.call import JSON

DIGITS = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
TOO_LONG = b"0" * 19  # digits; orjson turns integers past 64 bits into floats


def has_long_number(raw: bytes) -> bool:
    """Return whether JSON text may hold an integer past 64 bits, in a tenth of a regular expression's time."""
    return TOO_LONG in raw.translate(DIGITS)


def loads(text: str | bytes) -> JSON:
    """Return the value of JSON text; raise ValueError when it is none."""
    raw = text.encode() if isinstance(text, str) else text
    if has_long_number(raw):
        return cast(JSON, json.loads(raw))
    return cast(JSON, orjson.loads(raw))


def dumps(value: JSON) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # integers past 64 bits, lone surrogates
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()

"""JSON text to values and back, exact: integers keep all their digits."""

from __future__ import annotations

import json
import re
from typing import cast

import orjson

from connectors.call import JSON

LONGEST_EXACT = re.compile(rb"[0-9]{19}")  # orjson turns integers past 64 bits into floats


def loads(text: str | bytes) -> JSON:
    """Return the value of JSON text; raise ValueError when it is none."""
    raw = text.encode() if isinstance(text, str) else text
    if LONGEST_EXACT.search(raw):
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

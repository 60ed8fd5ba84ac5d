"""What an HTTP answer's body becomes in a step's output."""

from __future__ import annotations

import json
from email.message import Message as Headers
from typing import Any, cast

from connectors.sdk import exact_json
from connectors.sdk.call import JSON, HttpResponse
from connectors.sdk.exact_json import REPLACEMENT

# Types of `application/…` that are text all the same.
TEXT_ENDINGS = ("json", "xml", "javascript", "yaml", "x-www-form-urlencoded", "graphql", "x-ndjson")


def parsed_body(response: HttpResponse) -> JSON:
    """Return JSON as its value, other text as text, and of anything else its size and type in words.

    The declared content type decides, not the look of the body; an empty body is null. Text that is not in its charset
    keeps a replacement character for each byte that cannot be read.

        parsed_body(response)  # {"id": 7}, or "<html>…", or "(2048 bytes of image/png, not stored)"
    """
    if not response.body:
        return None
    headers = Headers()
    declared = next((value for name, value in response.headers.items() if name.lower() == "content-type"), "")
    headers["Content-Type"] = declared
    kind = headers.get_content_type() if declared else ""
    text = _text(response.body, headers.get_content_charset() or "utf-8", kind)
    if text is None:
        return f"({len(response.body)} bytes of {kind or 'unknown type'}, not stored)"
    return _value(text) if kind.endswith(("/json", "+json")) else text


def _text(body: bytes, charset: str, kind: str) -> str | None:
    """Return the text, with what cannot be read replaced where the answer calls itself text; None for binary."""
    try:
        text = body.decode(charset if charset.isascii() else "utf-8")
    except (LookupError, UnicodeError):
        if kind and not kind.startswith("text/") and not kind.endswith(TEXT_ENDINGS):
            return None
        text = body.decode("utf-8", errors="replace")
    # No text has a NUL: what decodes and has one is binary, such as UTF-16 or an archive.
    if "\0" in text and not kind.startswith("text/") and not kind.endswith(TEXT_ENDINGS):
        return None
    return text.removeprefix("\ufeff").replace("\0", REPLACEMENT)


def _value(text: str) -> JSON:
    """Return the value of JSON text, or the text itself if it is not JSON, or is JSON that cannot be stored."""
    try:
        value = exact_json.loads(text)
        # What could not be written back could not be stored: infinity, lone surrogates, too many levels.
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return text
    return _without_nul(value) if "\\u0000" in text else value


def _without_nul(value: Any) -> JSON:
    """Return the value without the one character that PostgreSQL cannot store."""
    match value:
        case str():
            return value.replace("\0", REPLACEMENT)
        case list():
            return [_without_nul(item) for item in value]
        case dict():
            return {key.replace("\0", REPLACEMENT): _without_nul(item) for key, item in value.items()}
        case _:
            return cast(JSON, value)

"""What an HTTP answer's body becomes in a step's output."""

from __future__ import annotations

import json
from email.message import Message as Headers
from encodings.aliases import aliases
from typing import Any, cast

from connectors.sdk import exact_json
from connectors.sdk.budget import TooLarge, written_size
from connectors.sdk.call import JSON, HttpResponse
from connectors.sdk.exact_json import REPLACEMENT

LONGEST_NUMBER = 1_000  # digits; the time to read and write them grows with their square
VALUES_LIMIT = 1_000_000  # in one answer: ten million brackets would become a gigabyte of lists
LIGHT = 1_000  # bytes of an answer that never needs much memory, whatever is in it: "{}," needs 66 times as much
NARROW = bytes(range(0xF0))  # of UTF-8: without the four bytes of an emoji
# By allow-list, each linear in the length of the text: Python's other codecs include some that are not (punycode
# takes minutes for 400 kB) and some that unpack or interpret (zip, unicode_escape).
CHARSETS = frozenset(
    {"ascii", "utf_8", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be", "latin_1",
     "iso8859_1", *(f"iso8859_{part}" for part in range(2, 17) if part != 12), *(f"cp125{page}" for page in range(9)),
     "cp437", "cp850", "cp852", "cp855", "cp866", "cp874", "cp932", "cp936", "cp949", "cp950", "koi8_r", "koi8_u",
     "mac_roman", "mac_cyrillic", "tis_620", "shift_jis", "shift_jis_2004", "euc_jp", "iso2022_jp", "gb2312", "gbk",
     "gb18030", "big5", "big5hkscs", "euc_kr", "johab"}
)  # fmt: skip
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
    declared = headers["Content-Type"] = _declared(response)
    kind = headers.get_content_type() if declared else ""
    text = _text(response.body, headers.get_content_charset() or "utf-8", kind)
    if text is None:
        return f"({len(response.body)} bytes of {kind or 'unknown type'}, not stored)"
    return _value(text) if kind.endswith(("/json", "+json")) else text


def weight_held(response: HttpResponse) -> int:
    """Return the bytes of memory that an answer takes as a step's output, at most: its value and its text to store.

    What JSON's lists, objects and numbers take beyond their text was measured. Small answers are not looked into.
    """
    body = response.body
    if len(body) <= LIGHT:
        return len(body)
    weight = 2 * len(body) * _width(body)
    if "json" in _declared(response).lower() and sum(_counts(body)) <= VALUES_LIMIT:
        weight += weight_of_values(body)
    return weight


def weight_of_values(text: str | bytes) -> int:
    """Return the bytes of memory that the values in a JSON text take beyond their text, at most."""
    lists, objects, values = _counts(text)
    return 16 * lists + 128 * objects + 64 * values


def _counts(text: str | bytes) -> tuple[int, int, int]:
    """Return how many brackets, braces and commas JSON text has."""
    if isinstance(text, str):
        return text.count("["), text.count("{"), text.count(",")
    return text.count(b"["), text.count(b"{"), text.count(b",")


def _declared(response: HttpResponse) -> str:
    return next((value for name, value in response.headers.items() if name.lower() == "content-type"), "")


def _width(text: bytes) -> int:
    """Return the bytes that Python takes for a character, at most: as for the widest one, and for its UTF-8 kept."""
    if text.isascii():
        return 1
    return 5 if text.translate(None, NARROW) else 3


def _text(body: bytes, charset: str, kind: str) -> str | None:
    """Return the text, with what cannot be read replaced where the answer calls itself text; None for binary."""
    try:
        text = body.decode(_codec(charset))
    except UnicodeError:
        if kind and not kind.startswith("text/") and not kind.endswith(TEXT_ENDINGS):
            return None
        text = body.decode("utf-8", errors="replace")
    # No text has a NUL: what decodes and has one is binary, such as UTF-16 or an archive.
    if "\0" in text and not kind.startswith("text/") and not kind.endswith(TEXT_ENDINGS):
        return None
    return text.removeprefix("\ufeff").replace("\0", REPLACEMENT)


def _codec(charset: str) -> str:
    """Return Python's name of a charset, or UTF-8 for one that is not allowed; unknown names load no module."""
    name = charset.lower().replace("-", "_")
    name = aliases.get(name, name)
    return name if name in CHARSETS else "utf-8"


def _value(text: str) -> JSON:
    """Return the value of JSON text, or the text itself if it is not JSON, or is JSON that cannot be stored."""
    try:
        raw = text.encode()
        if sum(_counts(text)) > VALUES_LIMIT or exact_json.has_long_number(raw, LONGEST_NUMBER):
            return text
        value = exact_json.loads(raw)
        if exact_json.has_long_number(raw):  # read by Python, which takes infinity and lone surrogates, too
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        written_size(value)
    except (ValueError, RecursionError, TooLarge):
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

"""Read a request's body and query exactly, by their declared type, or refuse them with the name of the field."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import orjson

from connectors.sdk.call import JSON
from connectors.sdk.exact_json import has_long_number
from executions import sealed_json

FIELD_LIMIT = 1000  # fields of a form or a query
DEPTH_LIMIT = 64  # levels of nested objects and lists
KEY_LIMIT = 10_000  # keys of all objects together
FORM = "application/x-www-form-urlencoded"
CHARSETS = ("", "utf-8", "utf8", "us-ascii")
BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


class Refused(Exception):
    """A refusal: the answer's status, a stable code for machines, and a sentence for the sender. No execution is made.

    `headers` are the answer's own; `extra` stands beside `error` in its JSON body; `closes` ends the connection, whose
    next bytes nobody could tell from the rest of this request. Raise a new one each time: a raised exception keeps the
    frames that it went through.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: list[tuple[str, str]] | None = None,
        extra: dict[str, JSON] | None = None,
        closes: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or []
        self.extra = extra or {}
        if closes:
            self.headers.append(("Connection", "close"))


class Busy(Refused):
    """A refusal because a budget is used up, which `code` names: nothing was stored, and no receipt is left."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message, headers=[("Retry-After", "5")], closes=True)


def parse(raw: bytes, content_type: str) -> JSON:
    """Return the value of a body, read by its declared type and never by its look; raise Refused.

    JSON gives any value, a form a dict of its fields, text a str, and an empty body without a type None.
    """
    kind, charset = _kind_and_charset(content_type)
    if not kind and not raw:
        return None
    if charset not in CHARSETS:
        raise Refused(415, "unsupported_charset", f"AgentOS does not read the charset “{charset[:40]}”. Send UTF-8.")
    if kind == "application/json" or kind.endswith("+json"):
        return _json(raw)
    if kind == FORM:
        return fields(raw, "body")
    if kind.startswith("text/") and kind != "text/xml":
        return _text(raw)
    named = f"“{kind[:80]}”" if kind else "a body without Content-Type"
    raise Refused(
        415, "unsupported_media_type", f"AgentOS does not read {named}. Send JSON, a URL-encoded form or text."
    )


def fields(raw: bytes, where: str) -> dict[str, JSON]:
    """Return the fields of a form or query, a list of values for a name that comes more than once; raise Refused."""
    if not raw:
        return {}
    text = _decoded(raw)
    if text.count("&") >= FIELD_LIMIT:
        raise Refused(400, "too_many_fields", f"The {where} has more than {FIELD_LIMIT} fields.")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise Refused(400, "invalid_encoding", f"A field of the {where} is not valid UTF-8.") from None
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    if "%00" in text or "\0" in text:
        _refuse_nul(found, where)
    return found


def _kind_and_charset(content_type: str) -> tuple[str, str]:
    kind, _, parameters = content_type.partition(";")
    charset = ""
    for parameter in parameters.split(";") if parameters else ():
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    return kind.strip().lower(), charset


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Refused(400, "invalid_encoding", f"Byte {error.start} is not valid UTF-8.") from None


def _text(raw: bytes) -> str:
    text = _decoded(raw)
    if "\0" in text:
        raise Refused(400, "nul_character", f"The body has a NUL character at position {text.index(chr(0))}.")
    return text


def _json(raw: bytes) -> JSON:
    if not raw.strip():
        raise Refused(400, "invalid_json", "The body is empty.")
    try:
        value = orjson.loads(raw)  # strict, also for bodies whose long numbers only the exact reader keeps
    except orjson.JSONDecodeError as error:
        raise _json_refusal(raw, error) from None
    if has_long_number(raw):
        value = _exact(raw)
    # Counting bytes is cheap and never too low, so that most bodies need no walk.
    if raw.count(b"[") + raw.count(b"{") > DEPTH_LIMIT or raw.count(b":") > KEY_LIMIT:
        _check_size(value)
    if b"\\u0000" in raw:
        _refuse_nul(value, "body")
    return value  # type: ignore[no-any-return]


def _exact(raw: bytes) -> JSON:
    """Return the value with all digits of its integers, which orjson turns into floats past 64 bits."""
    try:
        return sealed_json.loads(raw)
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise _out_of_range() from None


def _json_refusal(raw: bytes, error: orjson.JSONDecodeError) -> Refused:
    if raw.startswith(BYTE_ORDER_MARKS):
        return Refused(400, "invalid_encoding", "The body starts with a byte order mark. Send UTF-8 without one.")
    _decoded(raw)
    said = str(error).lower()
    if "surrogate" in said:
        return Refused(
            400, "invalid_unicode", f"The body has half a character in line {error.lineno}, column {error.colno}."
        )
    if "depth limit" in said:
        return _too_deep()
    if "infinity" in said:
        return _out_of_range()
    return Refused(400, "invalid_json", f"The body is not JSON: see line {error.lineno}, column {error.colno}.")


def _too_deep() -> Refused:
    return Refused(400, "too_deep", f"The body is nested more than {DEPTH_LIMIT} levels deep.")


def _out_of_range() -> Refused:
    return Refused(400, "number_out_of_range", "A number in the body is out of range.")


def _check_size(value: Any) -> None:
    level, depth, keys = [value], 0, 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        keys += sum(len(item) for item in level if isinstance(item, dict))
        if depth > DEPTH_LIMIT:
            raise _too_deep()
        if keys > KEY_LIMIT:
            raise Refused(400, "too_many_keys", f"The body has more than {KEY_LIMIT} keys.")
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]


def _refuse_nul(value: Any, path: str) -> None:
    """Raise Refused with the path of a NUL character, which PostgreSQL cannot store."""
    open_values = [(path, value)]
    while open_values:
        path, item = open_values.pop()
        if isinstance(item, str) and "\0" in item:
            raise Refused(400, "nul_character", f"{path[:200]} has a NUL character.")
        if isinstance(item, list):
            open_values += [(f"{path}[{index}]", child) for index, child in enumerate(item)]
        elif isinstance(item, dict):
            for key in item:
                if "\0" in key:
                    raise Refused(400, "nul_character", f"A key of {path[:200]} has a NUL character.")
            open_values += [(f"{path}.{key}", child) for key, child in item.items()]

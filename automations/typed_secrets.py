"""Secrets that a builder typed into a step, in a header or query parameter whose name says that it holds one."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from automations.definition import ActionStep, Definition
from connectors.sdk.call import JSON
from projects.sealing import MASK

# Whole words of a name, which `-` and `_` divide: `X-Api-Key`, `access_token`, `Cookie`.
NAME = re.compile(
    r"(?:^|[-_.])(?:authorization|auth|apikey|cookies?|credentials?|jwt|passwd|password|pwd|secret|session|signature|sig"
    r"|tokens?|(?:access|account|admin|api|app|application|auth|client|functions|license|master|private|secret|service"
    r"|shared|signing|subscription|user)[-_]?key)(?:$|[-_.])",
    re.IGNORECASE,
)
# In a body, whose fields are data: only what is hardly ever anything else.
IN_BODY = re.compile(
    r"(?:^|[-_.])(?:authorization|apikey|credentials?|passwd|password|secret|tokens?|(?:access|api|private|secret)[-_]?key)$",
    re.IGNORECASE,
)
TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
PIECE = re.compile(r"[^\s;,=]{8,}")  # of a value beside a template
FIELDS = ("headers", "query")  # of an input: the fields of names and values that are sent
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)[ \t]+(?=\S)")  # "Bearer " before the secret itself
SHORTEST = 4
LONG_ENOUGH = 8  # characters of a secret in a body: a shorter text would mask too much of the data


@dataclass(frozen=True, slots=True)
class TypedSecret:
    """A secret that stands in an input as it was typed."""

    field: str
    number: int  # of the row, from 0
    name: str
    scheme: str  # "Bearer ", or nothing
    value: str

    @property
    def id(self) -> str:
        return f"{self.field}:{self.name}"

    @property
    def texts(self) -> list[str]:
        """Return what nobody must see: the value, and what it is put together from."""
        found = [self.scheme + self.value, self.value]
        if self.scheme.lower().strip() == "basic":
            found += _decoded(self.value).split(":", 1)[1:]
        if self.name.lower() == "cookie":
            found += [part.partition("=")[2].strip() for part in self.value.split(";")]
        return [text for text in dict.fromkeys(found) if len(text) >= SHORTEST]


def is_secret(name: str) -> bool:
    """Return whether a header or parameter of this name holds a secret.

    is_secret("X-Api-Key"), is_secret("Idempotency-Key")  # True, False
    """
    return bool(NAME.search(name))


def typed_in(step_input: dict[str, Any]) -> Iterator[TypedSecret]:
    """Yield the secrets that were typed into a step's input; a value with a template in it is none."""
    for field in FIELDS:
        for number, (name, value) in enumerate(_pairs(step_input.get(field))):
            if isinstance(value, str) and "{{" not in value and "{%" not in value and is_secret(name):
                scheme = SCHEME.match(value.strip())
                before = scheme[0] if scheme and "=" not in scheme[0] and name.lower() != "cookie" else ""
                if rest := value.strip()[len(before) :]:
                    yield TypedSecret(field, number, name, before, rest)


def texts_in(definition: Definition) -> tuple[str, ...]:
    """Return the texts of all secrets that were typed into a definition's steps, beside a template too."""
    inputs = [step.input for step in definition.walk() if isinstance(step, ActionStep)]
    found = [text for one in inputs for secret in typed_in(one) for text in secret.texts]
    for one in inputs:
        pairs = [pair for field in FIELDS if field in one for pair in _pairs(one[field])]
        found += [piece for name, value in pairs if is_secret(name) for piece in _pieces(value)]
        if "body" in one:
            found += [text for text in _in_body(one["body"]) if len(text) >= LONG_ENOUGH]
    return tuple(found)


def recorded(step_input: JSON) -> JSON:
    """Return a rendered input with a mask for each header and parameter that holds a secret, wherever it came from."""
    if not isinstance(step_input, dict) or not any(name in step_input for name in FIELDS):
        return step_input
    return {name: masked(value) if name in FIELDS else value for name, value in step_input.items()}


def masked(stored: JSON) -> JSON:
    """Return a stored definition, or a part of one, with a mask in place of what was typed as a secret."""
    match stored:
        case {"name": str(name), "value": str(value)} if _hides(name, value):
            return {**cast(dict[str, JSON], stored), "value": MASK}
        case dict():
            return {key: MASK if _hides(key, item) else masked(item) for key, item in stored.items()}
        case list():
            return [masked(item) for item in stored]
        case _:
            return stored


def replaced(step_input: dict[str, Any], secret: TypedSecret, key: str) -> dict[str, Any]:
    """Return the input with a variable in the secret's place."""
    expression = f"{secret.scheme}{{{{ vars.{key} }}}}"
    rows = step_input[secret.field]
    if isinstance(rows, dict):
        return {**step_input, secret.field: {**rows, secret.name: expression}}
    changed = [{**row, "value": expression} if at == secret.number else row for at, row in enumerate(rows)]
    return {**step_input, secret.field: changed}


def _hides(name: str, value: object) -> bool:
    if not isinstance(value, str) or not value or not is_secret(name):
        return False
    return not TEMPLATE.search(value) or bool(_pieces(value))


def _pieces(value: object) -> list[str]:
    """Return what was typed beside the templates of a value; nothing of a value without templates."""
    if not isinstance(value, str) or not TEMPLATE.search(value):
        return []
    return [piece for part in TEMPLATE.split(value) for piece in PIECE.findall(part)]


def _in_body(body: JSON, name: str = "") -> Iterator[str]:
    """Yield the secrets that were typed into a body: an object, or a form's lines of name=value."""
    match body:
        case str() if name:
            if IN_BODY.search(name) and not TEMPLATE.search(body):
                yield body
        case str():
            for line in body.splitlines() if "=" in body else ():
                name, _, value = line.partition("=")
                yield from _in_body(value.strip(), name.strip())
        case list():
            for item in body:
                yield from _in_body(item, name)
        case dict():
            for key, item in body.items():
                yield from _in_body(item, key)


def _pairs(rows: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(rows, dict):
        yield from ((str(name), value) for name, value in rows.items())
    elif isinstance(rows, list):
        for row in rows:
            yield (str(row.get("name", "")), row.get("value")) if isinstance(row, dict) else ("", None)


def _decoded(value: str) -> str:
    try:
        return b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""

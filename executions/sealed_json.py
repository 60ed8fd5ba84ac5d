"""Stored JSON text, in which secret values are sealed: encrypted where they stand.

A seal is the encrypted secret between two private-use characters inside a JSON string. Engines open seals; people, the
API and logs see a mask in their place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import quote

from connectors.sdk import exact_json
from connectors.sdk.call import JSON
from projects import sealing

ROW_LIMIT = 256 * 1024  # characters of JSON text that a step run's row may hold
EXCERPT = 8 * 1024  # characters of a larger text that its row holds, as an excerpt
SEAL_START, SEAL_END = "\ue000sealed:", "\ue001"
SEALED = re.compile(f"{SEAL_START}([A-Za-z0-9_=-]+){SEAL_END}")
SHORTEST_SECRET = 4  # characters from which on a value is sealed; shorter ones would seal half of every text


def loads(text: str | bytes) -> JSON:
    return exact_json.loads(text)


def dumps(value: JSON) -> str:
    return exact_json.dumps(value).decode()


def variants(secret: str) -> list[str]:
    """Return the forms in which another service may send a secret back: as it is, and URL-encoded."""
    return list(dict.fromkeys([secret, quote(secret, safe="")]))


def sealed(value: JSON, secret_values: Iterable[str]) -> JSON:
    """Return the value with every secret sealed, in the keys of objects and in texts."""
    found = [form for secret in secret_values if len(secret) >= SHORTEST_SECRET for form in variants(secret)]
    if not found:
        return value
    pattern = re.compile("|".join(re.escape(form) for form in sorted(found, key=len, reverse=True)))
    return cast(JSON, _walk(value, lambda text: pattern.sub(lambda hit: _seal(hit[0]), text)))


def hidden(text: str, secret_values: Iterable[str]) -> str:
    """Return a message to store, with every secret masked: no step reads a message, so nobody need open it again."""
    text = exact_json.storable(text)
    for secret in secret_values:
        if len(secret) >= SHORTEST_SECRET:
            for form in variants(secret):
                text = text.replace(form, sealing.MASK)
    return text


def opened(value: JSON) -> JSON:
    """Return a stored value with its seals decrypted. For engines only: people see `masked`."""
    return cast(JSON, _walk(value, lambda text: SEALED.sub(lambda hit: sealing.decrypt(hit[1]), text)))


def loads_opened(text: str) -> JSON:
    """Return the value of stored JSON text with its seals decrypted."""
    value = loads(text)
    return opened(value) if is_sealed(text) else value


def is_sealed(text: str) -> bool:
    """Return whether JSON text may hold a seal, whose first character stands as it is or as an escape."""
    return SEAL_START in text or "\\ue000" in text


def masked(text: str) -> str:
    """Return JSON text with a mask in place of each seal, for people, API, admin and logs."""
    return SEALED.sub(sealing.MASK, text) if is_sealed(text) else text


def _seal(text: str) -> str:
    return f"{SEAL_START}{sealing.encrypt(text)}{SEAL_END}"


def _walk(value: Any, change: Any) -> Any:
    match value:
        case str():
            return change(value)
        case list():
            return [_walk(item, change) for item in value]
        case dict():
            return {change(key): _walk(item, change) for key, item in value.items()}
        case _:
            return value

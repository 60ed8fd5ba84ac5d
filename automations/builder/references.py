"""Which sources (trigger, steps, vars) a step's configuration reads from."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from liquid.exceptions import LiquidError

from connectors.sdk.language import ENVIRONMENT
from connectors.sdk.mapping import PART


def roots(value: Any) -> frozenset[str]:
    """Return the first names of everything that templates and condition paths in a value read."""
    match value:
        case str():
            return _of_text(value)
        case list():
            return frozenset().union(*(roots(item) for item in value))
        case dict():
            inner = frozenset[str]().union(*(roots(item) for item in value.values()))
            return inner | _of_path(value["path"]) if {"path", "op"} <= value.keys() else inner
        case _:
            return frozenset()


def _of_path(path: Any) -> frozenset[str]:
    first = PART.match(str(path).strip())
    return frozenset({first[1]}) if first and first[1] else frozenset()


@lru_cache(maxsize=4096)
def _of_text(text: str) -> frozenset[str]:
    if "{{" not in text and "{%" not in text:
        return frozenset()
    try:
        return frozenset(ENVIRONMENT.from_string(text).global_variables())
    except (LiquidError, RecursionError):
        return frozenset()  # a template that cannot be read has a problem of its own

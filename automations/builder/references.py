"""Which sources (trigger, steps, variables) a step's configuration reads from."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from liquid.exceptions import LiquidError

from connectors.sdk import mapping
from connectors.sdk.language import compiled
from connectors.sdk.mapping import PART


def roots(value: Any) -> frozenset[str]:
    """Return the first name of each path that a value's templates and conditions read: "trigger", "vars", a step's key.

    A dict with both `path` and `op` is a comparison of a condition, wherever it stands.
    """
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


@lru_cache(maxsize=4096)  # the builder asks for every text of the draft each time a pane is drawn, and parsing is slow
def _of_text(text: str) -> frozenset[str]:
    if "{{" not in text and "{%" not in text:
        return frozenset()
    try:
        return frozenset(compiled(text).global_variables())
    except (mapping.MappingError, LiquidError, RecursionError):
        return frozenset()  # the check of the step's input reports a template that cannot be read

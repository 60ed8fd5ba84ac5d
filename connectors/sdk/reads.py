"""What of a scope the templates of a value may read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import takewhile
from typing import Any, cast

from connectors.sdk.call import JSON
from connectors.sdk.language import compiled

WHOLE = ""  # in place of a part of a path: all that is there


def needed(value: JSON, scope: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return what of the scope the templates in the value may read: a compute child gets no more than that."""
    return part_of(scope, _read_by(value))


def part_of(scope: Mapping[str, JSON], paths: Iterable[tuple[str | int, ...] | None]) -> dict[str, JSON]:
    """Return the part of a scope that lies at these paths; None stands for a path to anywhere.

    Lists are returned whole, so that an index means the same item.
    """
    tree: dict[str, Any] = {}
    for path in paths:
        if path is None:
            return dict(scope)
        branch = tree
        for part in takewhile(lambda part: isinstance(part, str), path):
            branch = branch.setdefault(str(part), {})
        branch[WHOLE] = {}
    return cast(dict[str, JSON], _pruned(tree, scope))


def _read_by(value: JSON) -> Iterator[tuple[str | int, ...] | None]:
    match value:
        case str() if "{{" in value or "{%" in value:
            yield from reads(value)
        case list():
            for item in value:
                yield from _read_by(item)
        case dict():
            for item in value.values():
                yield from _read_by(item)


@lru_cache(maxsize=4096)
def reads(text: str) -> tuple[tuple[str | int, ...] | None, ...]:
    """Return the paths that a template may read, each up to where data decides how it goes on; None for any."""
    paths: list[tuple[str | int, ...] | None] = []
    found = [variable.segments for one in compiled(text).analyze().globals.values() for variable in one]
    for segments in found:
        if not isinstance(segments[0], str):
            return (None,)
        # Liquid's own words for the size and the ends of an object need all of it.
        path = takewhile(lambda part: isinstance(part, str | int) and part not in ("size", "first", "last"), segments)
        paths.append(tuple(cast(Iterator[str | int], path)))
        found += [part for part in segments if isinstance(part, list)]
    return tuple(dict.fromkeys(paths))


def _pruned(tree: dict[str, Any], value: Any) -> Any:
    if WHOLE in tree or not isinstance(value, dict):
        return value
    return {part: _pruned(rest, value[part]) for part, rest in tree.items() if part in value}

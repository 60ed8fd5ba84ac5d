"""Which fields of an input compute with a secret, so that the secret's own text is no longer found in the result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from liquid import RenderContext
from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, Literal, Path
from liquid.builtin.output import OutputNode
from liquid.exceptions import LiquidError

from connectors.sdk.call import JSON
from connectors.sdk.language import ENVIRONMENT

SHORTEST = 4  # characters of a computed text that can be found again
WORDS = re.compile(r"""[^\s"',;:&<>(){}\[\]]{8,}""")
MOST = 50  # computed texts of one step that are looked for later
# These put something beside the secret or take white space away: it stays as it is.
KEEPING = frozenset({"append", "default", "prepend", "strip"})
# These encode it in a form that is masked; one after the other only as below.
ENCODING = frozenset({"base64_encode", "base64_url_safe_encode", "escape", "json", "url_encode"})
TWICE = {("base64_encode", "url_encode"), ("base64_url_safe_encode", "url_encode"), ("json", "url_encode")}
ANY = "*"  # a name that is known only when the template is rendered

type Use = tuple[str, str]  # the first two names of a path: a variable's root and key, a step's key and a field


@dataclass(slots=True)
class Secrets:
    """What an execution must not show: its project's secret variables, and steps whose output holds a secret."""

    keys: frozenset[str] = frozenset()
    steps: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.keys or self.steps)

    def are_among(self, uses: frozenset[Use]) -> bool:
        for root, key in uses:
            if root == "vars":
                if self.keys and (key == ANY or key in self.keys):
                    return True
            elif root in self.steps or root == ANY:
                return True
        return False


def computed(template: JSON, rendered: JSON, secrets: Secrets) -> Iterator[JSON]:
    """Yield the rendered values of the fields that compute with a secret, and the longer words in them.

    list(computed({"a": "{{ vars.KEY | upcase }}", "b": "{{ vars.KEY }}"}, {"a": "K", "b": "k"}, secrets))  # ["K"]
    """
    match template, rendered:
        case str(), _:
            if secrets.are_among(_uses(template).computing):
                yield rendered
                yield from _parts(template, rendered)
        case dict(), dict():
            for key, part in template.items():
                yield from computed(part, rendered.get(key), secrets)
        case list(), list():
            for part, value in zip(template, rendered, strict=False):
                yield from computed(part, value, secrets)


def reads(template: JSON, secrets: Secrets) -> bool:
    """Return whether any template in the value reads a secret, whatever it does with it."""
    match template:
        case str():
            return secrets.are_among(_uses(template).all)
        case list():
            return any(reads(part, secrets) for part in template)
        case dict():
            return any(reads(part, secrets) for part in template.values())
        case _:
            return False


def texts_in(values: Iterable[JSON]) -> list[str]:
    """Return the texts and numbers in computed values that can be found again, MOST at most."""
    found: dict[str, None] = {}
    left = list(values)
    while left and len(found) < MOST:
        match left.pop():
            case str(text) if len(text) >= SHORTEST:
                found[text] = None
            case list(items):
                left += items
            case dict(fields):
                left += [*fields.keys(), *fields.values()]
            case int() | float() as number if not isinstance(number, bool) and len(str(number)) >= SHORTEST:
                found[str(number)] = None
    return list(found)


def _parts(template: str, rendered: JSON) -> Iterator[str]:
    """Yield the words of a computed text that its template does not hold: each may come back without the others."""
    if isinstance(rendered, str):
        yield from (word for word in WORDS.findall(rendered) if word not in template)


@dataclass(frozen=True, slots=True)
class _Uses:
    """What a template reads, and what of it is not found in the result as it is or in a form that is masked."""

    all: frozenset[Use] = frozenset()
    computing: frozenset[Use] = frozenset()


@lru_cache(maxsize=4096)  # a live version renders the same templates at every execution
def _uses(text: str) -> _Uses:
    if "{{" not in text and "{%" not in text:
        return _Uses()
    try:
        nodes = [node for node in ENVIRONMENT.from_string(text).nodes if not isinstance(node, ContentNode)]
    except (LiquidError, RecursionError):
        return _Uses()
    computing = [node for node in nodes if not (isinstance(node, OutputNode) and _keeps(node.expression))]
    return _Uses(frozenset(_uses_of(nodes)), frozenset(_uses_of(computing)))


def _keeps(expression: Any) -> bool:
    """Return whether what an expression reads can be found in its value."""
    if isinstance(expression, Path):
        return True
    if not isinstance(expression, FilteredExpression) or not isinstance(expression.left, Path | Literal):
        return False
    names = [one.name for one in expression.filters or ()]
    encoders = tuple(name for name in names if name in ENCODING)
    is_known = all(name in KEEPING or name in ENCODING for name in names)
    # What is put beside a text after it was encoded is not encoded with it: found as it is.
    return is_known and (len(encoders) < 2 or encoders in TWICE)


def _uses_of(nodes: Iterable[Any]) -> Iterator[Use]:
    for path in (path for node in nodes for path in _paths(node)):
        root, key = (*path.path, ANY)[:2]
        yield root if isinstance(root, str) else ANY, key if isinstance(key, str) else ANY


def _paths(item: Any) -> Iterator[Path]:
    """Yield the paths in a node or an expression, those inside paths too."""
    if isinstance(item, Path):
        yield item
        inside: Iterable[Any] = (part for part in item.path if isinstance(part, Path))
    elif isinstance(item, Node):
        inside = (*item.expressions(), *item.children(cast(RenderContext, None)))
    else:
        inside = item.children()
    for one in inside:
        yield from _paths(one)

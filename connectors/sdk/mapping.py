"""Data mapping: fields that hold `{{ trigger.body.title }}` and the like, rendered over plain JSON values.

A field that is one expression keeps the value's type; what was rendered is never parsed again. The language and its
limits are in `connectors.sdk.language`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from liquid import BoundTemplate, RenderContext
from liquid.builtin.expressions import Filter, FilteredExpression, Literal, Path, PositionalArgument
from liquid.builtin.output import OutputNode
from liquid.exceptions import LiquidError, UndefinedError
from liquid.undefined import is_undefined

from connectors.sdk.budget import (
    RESULT_LIMIT,
    TOO_LARGE,
    TooLarge,
    note_copied,
    spend,
    take_in_hand,
    weight,
    written_size,
)
from connectors.sdk.call import JSON
from connectors.sdk.language import ENVIRONMENT, PLAIN, MappingError, as_text, bounded, compiled, plain, whole
from connectors.sdk.problems import quoted
from connectors.sdk.reads import needed, reads
from connectors.sdk.sentences import template_sentence

__all__ = [
    "MISSING", "PART", "PATH", "MappingError", "Missing", "as_text", "mentions", "needed", "parts_of", "problems",
    "render", "resolve",
]  # fmt: skip

NESTING_LIMIT = 50  # levels of lists and objects of a step's input, as the builder writes it

SEGMENT = r"""(?:\.[A-Za-z_][\w-]*|\[\d+\]|\["[^"\]]*"\]|\['[^'\]]*'\])"""
LONE_PATH = re.compile(rf"\{{\{{\s*([A-Za-z_][\w-]*{SEGMENT}*)\s*\}}\}}")
PATH = re.compile(rf"[A-Za-z_][\w-]*{SEGMENT}*")
PART = re.compile(r"""\.?([A-Za-z_][\w-]*)|\[(\d+)\]|\["([^"\]]*)"\]|\['([^'\]]*)'\]""")


# Not None: null is a value that a path may well lead to.
class Missing:
    """The value of a path that leads nowhere; its only instance is MISSING, and it is false."""

    def __bool__(self) -> bool:
        return False


MISSING = Missing()


@lru_cache(maxsize=4096)
def parts_of(path: str) -> tuple[str | int, ...]:
    """Return the names and indexes of a path, one after the other."""
    if not PATH.fullmatch(path):
        raise MappingError(f"{quoted(path)} is not a path.", path)
    return tuple(
        int(index) if index else name or double or single for name, index, double, single in PART.findall(path)
    )


def problems(text: str) -> str | None:
    """Return what is wrong with a template's syntax, in a sentence, or None; whether its paths exist is not asked."""
    try:
        used = compiled(text).analyze().filters
    except MappingError as error:
        return str(error)
    unknown = next((name for name in used if name not in ENVIRONMENT.filters), None)
    return f"“{unknown}” is not a known filter." if unknown else None


def render(value: JSON, scope: Mapping[str, JSON]) -> JSON:
    """Return the value with every template in its texts rendered; raise MappingError naming a missing path.

    A text that is one expression becomes the expression's value, with its type; keys of objects are left as they are.
    What filters and loops cost is the caller's to bound: by `connectors.sdk.budget`, or by a compute child.

        render({"id": "{{ trigger.body.id }}", "note": "No. {{ trigger.body.id }}"}, {"trigger": {"body": {"id": 7}}})
        # {"id": 7, "note": "No. 7"}
    """
    rendering = _Rendering(scope)
    try:
        return rendering.of(value)
    finally:
        note_copied(RESULT_LIMIT - rendering.left)


class _Rendering:
    """Renders one value over one scope, and counts how large it has become: a hundred fields may name one list."""

    __slots__ = ("left", "scope")

    def __init__(self, scope: Mapping[str, JSON]) -> None:
        self.scope = scope
        self.left = RESULT_LIMIT

    def of(self, value: JSON, depth: int = 0) -> JSON:
        if isinstance(value, str):
            return self._text(value) if "{{" in value or "{%" in value else value
        if depth > NESTING_LIMIT:
            raise MappingError(f"The input has more than {NESTING_LIMIT} levels of lists and objects.")
        if isinstance(value, dict):
            return {key: self.of(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.of(item, depth + 1) for item in value]
        return value

    def _text(self, text: str) -> JSON:
        simple = _simple(text)
        found = simple.value(self.scope) if simple is not None else MISSING
        value = _render_template(text, self.scope) if isinstance(found, Missing) else found
        if isinstance(value, str):
            self.left -= len(value)
        elif isinstance(value, list | dict):
            try:
                self.left -= written_size(value)
            except TooLarge as error:
                raise MappingError(str(error)) from None
        if self.left < 0:
            raise MappingError(TOO_LARGE)
        return value


def resolve(path: str, scope: Mapping[str, JSON]) -> JSON | Missing:
    """Return the value at a path like `trigger.body.items[0]["a key"]`, or MISSING; raise MappingError for no path.

    resolve("trigger.body.id", {"trigger": {"body": {"id": 7}}})  # 7
    """
    return _walk(parts_of(path.strip()), scope)


def mentions(value: JSON, root: str) -> bool:
    """Return whether any template in the value may read from `root`, as far as its text shows."""
    match value:
        case str():
            return ("{{" in value or "{%" in value) and root in value
        case list():
            return any(mentions(item, root) for item in value)
        case dict():
            return any(mentions(item, root) for item in value.values())
        case _:
            return False


def _render_template(text: str, scope: Mapping[str, JSON]) -> JSON:
    template = compiled(text)
    try:
        for read in reads(text):
            take_in_hand(weight(scope if read is None else _walk(read, scope)))
        if _is_expression(template):
            return _evaluated(template, scope)
        return template.render(scope)
    except TooLarge as error:
        raise MappingError(str(error)) from None
    except UndefinedError as error:
        lone = LONE_PATH.fullmatch(text)
        path = lone[1] if lone else str(error.args[0]).removesuffix(" is undefined").strip("'")
        raise MappingError(f"“{path}” is missing.", path) from None
    except LiquidError as error:
        raise MappingError(template_sentence(error)) from None
    except RecursionError:
        raise MappingError("The template is nested too deeply.") from None
    except (ValueError, ArithmeticError):
        raise MappingError("The template computes with a value that it cannot use.") from None


@dataclass(frozen=True, slots=True)
class _Simple:
    """A field that is a path, or a path and filters with literal arguments: needs nothing of a template's machinery.

    What it cannot give a value for is left to the template, which says why.
    """

    parts: tuple[str | int, ...]
    filters: tuple[tuple[Callable[..., Any], tuple[Any, ...]], ...] = ()

    def value(self, scope: Mapping[str, JSON]) -> JSON | Missing:
        value: Any = _walk(self.parts, scope)
        if not self.filters or isinstance(value, Missing):
            found: JSON | Missing = value
            return found
        try:
            for function, arguments in self.filters:
                value = function(value, *arguments)
            return _plain(value)
        except (LiquidError, RecursionError, OverflowError, ValueError, ArithmeticError, TypeError, TooLarge):
            return MISSING


@lru_cache(maxsize=4096)
def _simple(text: str) -> _Simple | None:
    if lone := LONE_PATH.fullmatch(text):
        return _Simple(parts_of(lone[1]))
    template = compiled(text)
    expression = cast(OutputNode, template.nodes[0]).expression if _is_expression(template) else None
    if not isinstance(expression, FilteredExpression) or not isinstance(expression.left, Path):
        return None
    parts = tuple(part for part in expression.left.path if isinstance(part, str | int))
    filters = [_literal(filter_) for filter_ in expression.filters or ()]
    if len(parts) < len(expression.left.path) or None in filters:
        return None
    return _Simple(parts, tuple(filter_ for filter_ in filters if filter_))


def _literal(filter_: Filter) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
    """Return a filter's function with its arguments, when those are known before any value is."""
    function = ENVIRONMENT.filters.get(filter_.name)
    values = [argument.value for argument in filter_.args if isinstance(argument, PositionalArgument)]
    are_literal = len(values) == len(filter_.args) and all(isinstance(value, Literal) for value in values)
    if (
        function is None
        or not are_literal
        or hasattr(function, "with_context")
        or hasattr(function, "with_environment")
    ):
        return None
    return function, tuple(cast(Any, value).value for value in values)


def _is_expression(template: BoundTemplate) -> bool:
    return len(template.nodes) == 1 and isinstance(template.nodes[0], OutputNode)


def _evaluated(template: BoundTemplate, scope: Mapping[str, JSON]) -> JSON:
    """Return the value of a field that is one expression, with its type."""
    node = cast(OutputNode, template.nodes[0])
    value = node.expression.evaluate(RenderContext(template, globals=scope))
    if is_undefined(value):
        str(value)  # a lone expression does not raise by itself
    return _plain(bounded(value))


def _plain(value: Any) -> JSON:
    kind = type(value)
    if kind in PLAIN or kind is float:
        found: JSON = whole(value) if kind is float else value
        return found
    if isinstance(value, list | tuple | dict | range):
        spend(weight(value))
    return plain(value)


def _walk(parts: tuple[Any, ...], scope: Mapping[str, JSON]) -> JSON | Missing:
    value: Any = scope
    try:
        for part in parts:
            # type() and not isinstance(): values are plain JSON, and this runs for every field of every step.
            if type(value) is not (list if type(part) is int else dict):
                return MISSING
            value = value[part]
    except (KeyError, IndexError):
        return MISSING
    found: JSON = value
    return found

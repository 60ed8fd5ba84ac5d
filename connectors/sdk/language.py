"""The template language: Liquid, with filters by allow-list and caps on time, sizes and loops.

A template is written by a builder and fed by strangers: nothing in it reaches Python, files or other templates.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextvars import ContextVar
from decimal import Decimal
from time import perf_counter
from typing import Any, TextIO, cast

from liquid import Environment, RenderContext, StrictDefaultUndefined
from liquid.builtin.output import Output, OutputNode
from liquid.exceptions import LiquidError, UndefinedError
from liquid.undefined import Undefined, is_undefined

from connectors.sdk.call import JSON
from connectors.sdk.sentences import filter_sentence

# By allow-list: a release of python-liquid that brings new filters must not open them unread.
FILTERS = (
    "abs", "append", "at_least", "at_most", "base64_decode", "base64_encode", "base64_url_safe_decode",
    "base64_url_safe_encode", "capitalize", "ceil", "compact", "concat", "date", "default", "divided_by", "downcase",
    "escape", "escape_once", "find", "find_index", "first", "floor", "has", "join", "last", "lstrip", "map", "minus",
    "modulo", "newline_to_br", "plus", "prepend", "reject", "remove", "remove_first", "remove_last", "replace",
    "replace_first", "replace_last", "reverse", "round", "rstrip", "size", "slice", "sort", "sort_natural", "split",
    "squish", "strip", "strip_html", "strip_newlines", "sum", "times", "truncate", "truncatewords", "uniq", "upcase",
    "url_decode", "url_encode", "where",
)  # fmt: skip
# They read other templates, keep a state, write HTML, or only say in another way what the others can.
FORBIDDEN_TAGS = frozenset(
    {"include", "render", "echo", "liquid", "increment", "decrement", "tablerow", "cycle", "ifchanged", "doc"}
)
VALUE_LIMIT = 1_000_000  # characters of one rendered text, and of any text on the way there
ITEMS_LIMIT = 10_000  # of a range; a list may be longer, it exists already
UNIQUE_LIMIT = 2_000  # items that `uniq` compares each with each
NUMBER_LIMIT = 1e300  # beyond it a multiplication ends as infinity, which JSON does not have
NUMBERS = (int, float)
PLAIN = (str, int, bool, type(None))
TIME_LIMIT_S = 0.25  # meanwhile no other execution of the engine moves
# What a filter raises over a value or arguments that it cannot use.
UNUSABLE = (LiquidError, TypeError, ValueError, ArithmeticError, AttributeError, LookupError)


class MappingError(Exception):
    """A template cannot be read or rendered; `path` names what is missing, when something is."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class _JSONOutputNode(OutputNode):
    """Writes objects as JSON where Liquid would write Python."""

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        return buffer.write(as_text(plain(bounded(self.expression.evaluate(context)))))


class _JSONOutput(Output):
    node_class = _JSONOutputNode


class _Environment(Environment):
    context_depth_limit = 20
    loop_iteration_limit = 10_000
    local_namespace_limit = 2_000_000
    output_stream_limit = VALUE_LIMIT


_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)


def _check_time() -> None:
    if perf_counter() > _deadline.get():
        raise MappingError(f"The template takes longer than {TIME_LIMIT_S:g} s.")


class TimeLimit:
    """Bounds what is rendered inside: a template runs between the steps of hundreds of executions."""

    __slots__ = ("token",)

    def __enter__(self) -> None:
        self.token = _deadline.set(perf_counter() + TIME_LIMIT_S)

    def __exit__(self, *_: object) -> None:
        _deadline.reset(self.token)


def bounded(value: Any) -> Any:
    """Return a value as it is; raise MappingError for one that is large enough to eat memory or time."""
    kind = type(value)
    if len(value) <= VALUE_LIMIT if kind is str else kind in NUMBERS and abs(value) <= NUMBER_LIMIT:  # the usual cases
        return value
    if issubclass(kind, Undefined):  # isinstance() would raise its error, which `default` is there to prevent
        return value
    if isinstance(value, range) and value.stop - value.start > ITEMS_LIMIT:
        raise MappingError(f"The range has more than {ITEMS_LIMIT:,} items.")
    if isinstance(value, str | list) and len(value) > VALUE_LIMIT:
        raise MappingError(f"The value has more than {VALUE_LIMIT:,} characters or items.")
    if isinstance(value, int | float | Decimal) and not abs(cast(float, value)) <= NUMBER_LIMIT:
        raise MappingError("The number is too large.")
    return value


def _capped(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that refuses what is too large, before and after, and says in our words what it cannot use."""

    def capped(*arguments: Any, **keywords: Any) -> Any:
        _check_time()
        for argument in arguments:
            bounded(argument)
        if name == "uniq" and isinstance(arguments[0], list) and len(arguments[0]) > UNIQUE_LIMIT:
            raise MappingError(f"The filter “uniq” takes at most {UNIQUE_LIMIT:,} items.")
        try:
            return bounded(filter_(*arguments, **keywords))
        except UndefinedError:
            raise
        except UNUSABLE:
            raise MappingError(filter_sentence(name)) from None

    for attribute in ("with_context", "with_environment"):
        if hasattr(filter_, attribute):
            setattr(capped, attribute, getattr(filter_, attribute))
    return capped


def _timed(node_class: Any) -> Any:
    """Return a kind of node that ends a template whose time is over: loops may hold nothing else that would."""

    class Timed(node_class):  # type: ignore[misc]
        def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
            _check_time()
            return cast(int, super().render_to_output(context, buffer))

    return Timed


def _to_json(value: object) -> str:
    return as_text(plain(value)) if isinstance(value, dict | list) else json.dumps(plain(value), ensure_ascii=False)


def _environment() -> Environment:
    environment = _Environment(undefined=StrictDefaultUndefined, strict_filters=True)
    environment.add_tag(_JSONOutput)
    environment.tags = {name: tag for name, tag in environment.tags.items() if name not in FORBIDDEN_TAGS}
    for kind in environment.tags.values():
        if node_class := getattr(kind, "node_class", None):
            vars(kind)["node_class"] = _timed(node_class)
    # Every filter is wrapped: the sizes in between are what a chain of filters can multiply.
    environment.filters = {name: _capped(name, environment.filters[name]) for name in FILTERS}
    environment.add_filter("json", _capped("json", _to_json))
    return environment


def as_text(value: JSON) -> str:
    """Return a value as it stands in a text: objects and lists as JSON, whole numbers without a fraction, null empty.

    as_text(2.0), as_text(True), as_text({"a": None})  # "2", "true", '{"a":null}'
    """
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case int() | float():
            return str(value)
        case _:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def plain(value: object) -> JSON:
    """Return what Liquid computed as plain JSON: ranges and tuples as lists, decimals as numbers, else as text."""
    if type(value) in PLAIN:
        return cast(JSON, value)
    if is_undefined(value):
        str(value)  # raises what names the missing path
    match value:
        case None | bool() | int() | str():
            return value if not isinstance(value, str) else str(value)
        case float():
            # Below 2**53 the whole number is exact; above it, digits would be made up.
            return int(value) if value.is_integer() and abs(value) < 2**53 else value
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | range():
            bounded(value)
            return [plain(item) for item in value]
        case _:
            try:
                number = float(cast(Any, value))
            except (TypeError, ValueError):
                return str(value)
            return int(number) if number.is_integer() else number


ENVIRONMENT = _environment()

"""Data mapping: fields that hold `{{ trigger.body.title }}` and the like, rendered over plain JSON values.

Liquid, with limits; a field that is one expression keeps the value's type; what was rendered is never parsed again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from decimal import Decimal
from functools import lru_cache
from time import perf_counter
from typing import Any, TextIO, cast

from liquid import BoundTemplate, Environment, RenderContext, StrictDefaultUndefined
from liquid.builtin.output import Output, OutputNode
from liquid.exceptions import LiquidError, UndefinedError
from liquid.undefined import Undefined, is_undefined

from connectors.call import JSON

SOURCE_LIMIT = 10_000  # characters of one template
VALUE_LIMIT = 1_000_000  # characters of one rendered text, and of any text on the way there
FORBIDDEN_TAGS = (
    "include",
    "render",
    "echo",
    "liquid",
    "increment",
    "decrement",
    "tablerow",
    "cycle",
    "ifchanged",
    "doc",
)
FORBIDDEN_FILTERS = ("safe", "escapejs")
ITEMS_LIMIT = 10_000  # of a range; a list may be longer, it exists already
UNIQUE_LIMIT = 2_000  # items that `uniq` compares each with each
NUMBER_LIMIT = 1e300
TIME_LIMIT_S = 0.25  # of one template: it runs between the steps of hundreds of executions

SEGMENT = r"""(?:\.[A-Za-z_][\w-]*|\[\d+\]|\["[^"\]]*"\]|\['[^'\]]*'\])"""
LONE_PATH = re.compile(rf"\{{\{{\s*([A-Za-z_][\w-]*{SEGMENT}*)\s*\}}\}}")
PATH = re.compile(rf"[A-Za-z_][\w-]*{SEGMENT}*")
PART = re.compile(r"""\.?([A-Za-z_][\w-]*)|\[(\d+)\]|\["([^"\]]*)"\]|\['([^'\]]*)'\]""")


class MappingError(Exception):
    """A template cannot be rendered; `path` names what is missing, when something is."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class Missing:
    def __bool__(self) -> bool:
        return False


MISSING = Missing()


class _JSONOutputNode(OutputNode):
    """Writes objects as JSON where Liquid would write Python."""

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        return buffer.write(as_text(_plain(_bounded(self.expression.evaluate(context)))))


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
        raise MappingError(f"The template took longer than {TIME_LIMIT_S:g} s.")


def _bounded(value: Any) -> Any:
    """Return a value unless it is one that could eat memory or time, or the template's time is over."""
    _check_time()
    if issubclass(type(value), Undefined):  # isinstance() would raise its error, which `default` is there to prevent
        return value
    if isinstance(value, range) and value.stop - value.start > ITEMS_LIMIT:
        raise MappingError(f"The range has more than {ITEMS_LIMIT} items.")
    if isinstance(value, str | list) and len(value) > VALUE_LIMIT:
        raise MappingError(f"The value is larger than {VALUE_LIMIT} characters or items.")
    if isinstance(value, int | float | Decimal) and not abs(cast(float, value)) <= NUMBER_LIMIT:
        raise MappingError("The number is too large.")
    return value


def _capped(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that refuses what is too large, before and after."""

    def capped(*arguments: Any, **keywords: Any) -> Any:
        for argument in arguments:
            _bounded(argument)
        if name == "uniq" and isinstance(arguments[0], list) and len(arguments[0]) > UNIQUE_LIMIT:
            raise MappingError(f"uniq takes at most {UNIQUE_LIMIT} items.")
        return _bounded(filter_(*arguments, **keywords))

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
    return as_text(_plain(value)) if isinstance(value, dict | list) else json.dumps(_plain(value), ensure_ascii=False)


def _environment() -> Environment:
    environment = _Environment(undefined=StrictDefaultUndefined, strict_filters=True)
    environment.add_tag(_JSONOutput)
    for tag in FORBIDDEN_TAGS:
        environment.tags.pop(tag, None)
    for kind in environment.tags.values():
        if node_class := getattr(kind, "node_class", None):
            vars(kind)["node_class"] = _timed(node_class)
    for name in FORBIDDEN_FILTERS:
        environment.filters.pop(name, None)
    environment.add_filter("json", _to_json)
    for name, filter_ in list(environment.filters.items()):
        environment.filters[name] = _capped(name, filter_)
    return environment


ENVIRONMENT = _environment()


@lru_cache(maxsize=4096)
def _compiled(text: str) -> BoundTemplate:
    if len(text) > SOURCE_LIMIT:
        raise MappingError(f"The template is longer than {SOURCE_LIMIT} characters.")
    try:
        return ENVIRONMENT.from_string(text)
    except LiquidError as error:
        raise MappingError(_first_line(error) + _position(error)) from None
    except RecursionError:
        raise MappingError("The template is nested too deeply.") from None


@lru_cache(maxsize=4096)
def _parts(path: str) -> tuple[str | int, ...]:
    if not PATH.fullmatch(path):
        raise MappingError(f"“{path}” is not a path.", path)
    return tuple(
        int(index) if index else name or double or single for name, index, double, single in PART.findall(path)
    )


def problems(text: str) -> str | None:
    """Return what is wrong with a template's syntax, or None."""
    try:
        used = _compiled(text).analyze().filters
    except MappingError as error:
        return str(error)
    unknown = next((name for name in used if name not in ENVIRONMENT.filters), None)
    return f"unknown filter '{unknown}'" if unknown else None


def render(value: JSON, scope: Mapping[str, JSON]) -> JSON:
    """Return the value with every template in its texts rendered; raise MappingError naming a missing path."""
    match value:
        case str():
            return _render_text(value, scope) if "{{" in value or "{%" in value else value
        case list():
            return [render(item, scope) for item in value]
        case dict():
            return {key: render(item, scope) for key, item in value.items()}
        case _:
            return value


def resolve(path: str, scope: Mapping[str, JSON]) -> JSON | Missing:
    """Return the value at a dotted path like `trigger.body.items[0]["a key"]`, or MISSING."""
    return _walk(_parts(path.strip()), scope)


def mentions(value: JSON, root: str) -> bool:
    """Return whether any template in the value may read from `root`."""
    match value:
        case str():
            return ("{{" in value or "{%" in value) and root in value
        case list():
            return any(mentions(item, root) for item in value)
        case dict():
            return any(mentions(item, root) for item in value.values())
        case _:
            return False


def as_text(value: JSON) -> str:
    """Return a value as it stands in a text: objects as JSON, whole numbers without a fraction."""
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


def _render_text(text: str, scope: Mapping[str, JSON]) -> JSON:
    lone = LONE_PATH.fullmatch(text)
    if lone:
        found = _walk(_parts(lone[1]), scope)
        if not isinstance(found, Missing):
            return found
    template = _compiled(text)
    deadline = _deadline.set(perf_counter() + TIME_LIMIT_S)
    try:
        if len(template.nodes) == 1 and isinstance(template.nodes[0], OutputNode):
            return _evaluated(template, scope)
        return template.render(scope)
    except UndefinedError as error:
        path = lone[1] if lone else _first_line(error).removesuffix(" is undefined").strip("'")
        raise MappingError(f"“{path}” is missing.", path) from None
    except LiquidError as error:
        raise MappingError(_first_line(error)) from None
    except (RecursionError, OverflowError, ValueError, ArithmeticError) as error:
        raise MappingError(f"The template cannot be rendered: {type(error).__name__}.") from None
    finally:
        _deadline.reset(deadline)


def _evaluated(template: BoundTemplate, scope: Mapping[str, JSON]) -> JSON:
    """Return the value of a field that is one expression, with its type."""
    node = cast(OutputNode, template.nodes[0])
    value = node.expression.evaluate(RenderContext(template, globals=scope))
    if is_undefined(value):
        str(value)  # a lone expression does not raise by itself
    return _plain(_bounded(value))


def _plain(value: object) -> JSON:
    """Return what Liquid computed as plain JSON."""
    if is_undefined(value):
        str(value)
    match value:
        case None | bool() | int() | str():
            return value if not isinstance(value, str) else str(value)
        case float():
            return int(value) if value.is_integer() and abs(value) < 2**53 else value
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | range():
            _bounded(value)
            return [_plain(item) for item in value]
        case _:
            try:
                number = float(cast(Any, value))
            except (TypeError, ValueError):
                return str(value)
            return int(number) if number.is_integer() else number


def _walk(parts: tuple[str | int, ...], scope: Mapping[str, JSON]) -> JSON | Missing:
    value: Any = scope
    for part in parts:
        try:
            if isinstance(part, int) != isinstance(value, list):
                return MISSING
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return cast(JSON, value)


def _first_line(error: LiquidError) -> str:
    return str(error.args[0] if error.args else error).splitlines()[0]


def _position(error: LiquidError) -> str:
    found = error.context()
    return f" (line {found[0]}, column {found[1] + 1})" if found else ""

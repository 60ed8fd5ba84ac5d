"""Data mapping: fields that hold `{{ trigger.body.title }}` and the like, rendered over plain JSON values.

Liquid, with limits; a field that is one expression keeps the value's type; what was rendered is never parsed again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TextIO, cast

from liquid import BoundTemplate, Environment, RenderContext, StrictDefaultUndefined
from liquid.builtin.output import Output, OutputNode
from liquid.exceptions import LiquidError, UndefinedError
from liquid.undefined import is_undefined

from connectors.call import JSON

SOURCE_LIMIT = 10_000  # characters of one template
VALUE_LIMIT = 1_000_000  # characters of one rendered text, and of any text on the way there
FORBIDDEN_TAGS = ("include", "render", "increment", "decrement", "tablerow", "cycle", "ifchanged", "doc")
FORBIDDEN_FILTERS = ("safe", "escapejs")
GROWING_FILTERS = ("append", "prepend", "replace", "replace_first", "replace_last", "join", "concat", "newline_to_br",
                   "escape", "url_encode", "base64_encode")  # fmt: skip

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
        return buffer.write(as_text(_plain(self.expression.evaluate(context))))


class _JSONOutput(Output):
    node_class = _JSONOutputNode


class _Environment(Environment):
    context_depth_limit = 20
    loop_iteration_limit = 10_000
    local_namespace_limit = 2_000_000
    output_stream_limit = VALUE_LIMIT


def _capped(filter_: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that refuses texts and lists past the limit, before they can double again."""

    def capped(*arguments: Any, **keywords: Any) -> Any:
        result = filter_(*arguments, **keywords)
        if isinstance(result, str | list) and len(result) > VALUE_LIMIT:
            raise MappingError(f"The value grew past {VALUE_LIMIT} characters.")
        return result

    for name in ("with_context", "with_environment"):
        if hasattr(filter_, name):
            setattr(capped, name, getattr(filter_, name))
    return capped


def _to_json(value: object) -> str:
    return as_text(_plain(value)) if isinstance(value, dict | list) else json.dumps(_plain(value), ensure_ascii=False)


def _environment() -> Environment:
    environment = _Environment(undefined=StrictDefaultUndefined, strict_filters=True)
    environment.add_tag(_JSONOutput)
    for tag in FORBIDDEN_TAGS:
        environment.tags.pop(tag, None)
    for name in FORBIDDEN_FILTERS:
        environment.filters.pop(name, None)
    for name in GROWING_FILTERS:
        environment.filters[name] = _capped(environment.filters[name])
    environment.add_filter("json", _to_json)
    return environment


ENVIRONMENT = _environment()


@lru_cache(maxsize=4096)
def _compiled(text: str) -> BoundTemplate:
    if len(text) > SOURCE_LIMIT:
        raise MappingError(f"The template is longer than {SOURCE_LIMIT} characters.")
    try:
        return ENVIRONMENT.from_string(text)
    except LiquidError as error:
        raise MappingError(_first_line(error)) from None
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
        _compiled(text)
    except MappingError as error:
        return str(error)
    return None


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
    try:
        if len(template.nodes) == 1 and isinstance(template.nodes[0], OutputNode):
            return _evaluated(template, scope)
        return template.render(**scope)
    except UndefinedError as error:
        path = _first_line(error).removesuffix(" is undefined")
        raise MappingError(f"“{path}” is missing.", path) from None
    except LiquidError as error:
        raise MappingError(_first_line(error)) from None
    except (RecursionError, OverflowError, ValueError, ArithmeticError) as error:
        raise MappingError(f"The template cannot be rendered: {type(error).__name__}.") from None


def _evaluated(template: BoundTemplate, scope: Mapping[str, JSON]) -> JSON:
    """Return the value of a field that is one expression, with its type."""
    node = cast(OutputNode, template.nodes[0])
    value = node.expression.evaluate(RenderContext(template, globals=scope))
    if is_undefined(value):
        str(value)  # a lone expression does not raise by itself
    return _plain(value)


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

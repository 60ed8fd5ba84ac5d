"""The template language: Liquid, with filters by allow-list and caps on sizes and loops.

A template is written by a builder and fed by strangers: nothing in it reaches Python, files or other templates.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any, TextIO, cast

from liquid import BoundTemplate, Environment, RenderContext, StrictDefaultUndefined
from liquid.builtin.expressions import logical
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags import case_tag
from liquid.builtin.tags.for_tag import ForNode
from liquid.exceptions import LiquidError, UndefinedError
from liquid.undefined import Undefined, is_undefined

from connectors.sdk.budget import TooLarge, spend, spend_going_over, take_in_hand, weight
from connectors.sdk.call import JSON
from connectors.sdk.filters import COSTS, DATE_LIMIT, FILTERS, PLAIN_COSTS, RESULTS, VALUE_LIMIT, admit, small
from connectors.sdk.sentences import filter_sentence, template_sentence

# They read other templates, keep a state, write HTML, or only say in another way what the others can.
FORBIDDEN_TAGS = frozenset(
    {"include", "render", "echo", "liquid", "increment", "decrement", "tablerow", "cycle", "ifchanged", "doc"}
)
ITEMS_LIMIT = 10_000  # of a range; a list may be longer, it exists already
NUMBER_LIMIT = 1e300  # beyond it a multiplication ends as infinity, which JSON does not have
NUMBERS = (int, float)
PLAIN = (str, int, bool, type(None))
SOURCE_LIMIT = 10_000  # characters of one template: reading it is paid by whoever runs beside it
TAG = 500  # units of running a tag or an output
COMPARISON = 100  # units of one comparison
ROUND = 20  # units of one round of a loop
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
        return buffer.write(_written(bounded(self.expression.evaluate(context))))


class _JSONOutput(Output):
    node_class = _JSONOutputNode


def _charge_comparisons() -> None:
    """Have each comparison paid for before it is made: one tag may hold hundreds of them."""
    for module, name in ((logical, "_eq"), (logical, "_lt"), (logical, "_contains"), (case_tag, "_eq")):
        setattr(module, name, _charged_comparison(getattr(module, name)))


def _charged_comparison(compare: Callable[..., bool]) -> Callable[..., bool]:
    def charged(*values: Any) -> bool:
        left, right = values[-2:]
        spend(COMPARISON + weight(left) + weight(right))
        return compare(*values)

    return charged


class _Context(RenderContext):
    def raise_for_loop_limit(self, length: int = 1) -> None:
        spend(ROUND * length)
        super().raise_for_loop_limit(length)


class _Template(BoundTemplate):
    context_class = _Context


class _Environment(Environment):
    template_class = _Template
    context_depth_limit = 20
    loop_iteration_limit = 10_000
    local_namespace_limit = 2_000_000
    output_stream_limit = VALUE_LIMIT


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

    is_plain = COSTS[name] in PLAIN_COSTS and name not in RESULTS

    def capped(*arguments: Any, **keywords: Any) -> Any:
        if is_plain and not keywords and (units := small(arguments)):
            return _computed(name, filter_, arguments, units)
        for argument in arguments:
            bounded(argument)
        if name == "date" and isinstance(arguments[0], str) and len(arguments[0]) > DATE_LIMIT:
            return arguments[0]  # as with every text that is no date
        try:
            admit(name, (*arguments, *keywords.values()))
            value = bounded(filter_(*arguments, **keywords))
            take_in_hand(len(value) if isinstance(value, str | list) else 0)
            return value
        except TooLarge as error:
            raise MappingError(str(error)) from None
        except UndefinedError:
            raise
        except UNUSABLE:
            raise MappingError(filter_sentence(name)) from None

    for attribute in ("with_context", "with_environment"):
        if hasattr(filter_, attribute):
            setattr(capped, attribute, getattr(filter_, attribute))
    return capped


def _computed(name: str, filter_: Callable[..., Any], arguments: tuple[Any, ...], units: int) -> Any:
    """Return what a filter makes of small values, which most are: it can make nothing large of them."""
    try:
        spend(units)
        value = bounded(filter_(*arguments))
        if type(value) is str:
            take_in_hand(len(value))
        return value
    except UndefinedError:
        raise
    except UNUSABLE:
        raise MappingError(filter_sentence(name)) from None


def _charged(node_class: Any) -> Any:
    """Return a kind of node that is paid for before it runs: loops may hold nothing else that would be."""

    class Charged(node_class):  # type: ignore[misc]
        def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
            spend(TAG)
            if isinstance(self, ForNode):
                spend_going_over()
            return cast(int, super().render_to_output(context, buffer))

    return Charged


def _written(value: object) -> str:
    """Return a value as text, once its size is known: it may hold the same list many times over."""
    try:
        spend(weight(value))
    except TooLarge as error:
        raise MappingError(str(error)) from None
    return as_text(plain(value))


def _to_json(value: object) -> str:
    return as_text(plain(value)) if isinstance(value, dict | list) else json.dumps(plain(value), ensure_ascii=False)


def _environment() -> Environment:
    _charge_comparisons()
    environment = _Environment(undefined=StrictDefaultUndefined, strict_filters=True)
    environment.add_tag(_JSONOutput)
    environment.tags = {name: tag for name, tag in environment.tags.items() if name not in FORBIDDEN_TAGS}
    for kind in environment.tags.values():
        if node_class := getattr(kind, "node_class", None):
            vars(kind)["node_class"] = _charged(node_class)
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


def whole(value: float) -> int | float:
    """Return a number without a fraction as an integer."""
    # Below 2**53 the whole number is exact; above it, digits would be made up.
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


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
            return whole(value)
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


# A live version renders the same templates at every execution; the caches are bounded, because builders edit.
@lru_cache(maxsize=4096)
def compiled(text: str) -> BoundTemplate:
    if len(text) > SOURCE_LIMIT:
        raise MappingError(f"The template is longer than {SOURCE_LIMIT:,} characters.")
    try:
        return ENVIRONMENT.from_string(text)
    except LiquidError as error:
        raise MappingError(template_sentence(error)) from None
    except RecursionError:
        raise MappingError("The template is nested too deeply.") from None

"""The filters that templates may use: what each costs, and how large its result would be, before it computes.

By allow-list: a release of python-liquid that brings new filters must not open them unread.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log2
from typing import Any

from connectors.sdk.budget import NODE, TooLarge, spend, weight

VALUE_LIMIT = 1_000_000  # characters or items of any value on the way
UNIQUE_LIMIT = 2_000  # items that `uniq` compares each with each
DATE_LIMIT = 100  # characters of a date and of its format; liquid's parser of dates is not linear
CALL = 100  # units of calling a filter at all
SMALL = 1000  # characters of a text, and the bound of a number, with which most filters need no closer look
SMALL_NUMBER = 10**15


def _flat(_: tuple[Any, ...]) -> float:
    return CALL


def _per_unit(factor: float) -> Callable[[tuple[Any, ...]], float]:
    """Return the rule of a filter that goes over its values a fixed number of times."""
    return lambda values: CALL + factor * sum(map(weight, values))


def _sorting(values: tuple[Any, ...]) -> float:
    size = len(values[0]) if isinstance(values[0], list) else 1
    return CALL + sum(map(weight, values)) * (2 + log2(size + 1))


def _each_with_each(values: tuple[Any, ...]) -> float:
    size = len(values[0]) if isinstance(values[0], list) else 1
    return CALL + weight(values[0]) * size


_once, _twice = _per_unit(1), _per_unit(2)

# The units of one call, from its values. Measured on Python 3.13: a unit is at most 20 ns.
COSTS: dict[str, Callable[[tuple[Any, ...]], float]] = {
    **dict.fromkeys(("abs", "at_least", "at_most", "ceil", "divided_by", "floor", "minus", "modulo", "plus", "round",
                     "times"), _once),
    **dict.fromkeys(("default", "first", "last", "size"), _flat),
    "date": lambda values: 50 * CALL,
    **dict.fromkeys(("append", "base64_decode", "base64_encode", "base64_url_safe_decode", "base64_url_safe_encode",
                     "capitalize", "downcase", "escape", "join", "lstrip", "prepend", "remove",
                     "remove_first", "remove_last", "replace", "replace_first", "replace_last", "rstrip", "slice",
                     "strip", "truncate", "upcase"), _once),
    **dict.fromkeys(("compact", "concat", "find", "find_index", "has", "json", "map", "reject", "reverse", "sum",
                     "truncatewords", "where"), _twice),
    **dict.fromkeys(("newline_to_br", "split", "squish", "strip_newlines", "url_decode", "url_encode"), _per_unit(10)),
    "escape_once": _per_unit(30),
    "strip_html": _per_unit(100),
    **dict.fromkeys(("sort", "sort_natural"), _sorting),
    "uniq": _each_with_each,
}  # fmt: skip
PLAIN_COSTS = (_once, _flat)  # of the filters that make nothing large of small values, unless RESULTS names them
FILTERS = tuple(name for name in COSTS if name != "json")


def small(values: tuple[Any, ...]) -> int:
    """Return the units of a call with these values, as `_once` counts them; 0 unless all are short texts or numbers."""
    units = CALL
    for value in values:
        kind = type(value)
        if kind is str and len(value) <= SMALL:
            units += NODE + len(value)
        elif kind is float or (kind is int and -SMALL_NUMBER < value < SMALL_NUMBER):
            units += NODE
        else:
            return 0
    return units


def admit(name: str, values: tuple[Any, ...]) -> None:
    """Let a filter compute, or raise OverBudget, or TooLarge for what it may nowhere take or make."""
    spend(COSTS[name](values))
    if name == "uniq" and isinstance(values[0], list) and len(values[0]) > UNIQUE_LIMIT:
        raise TooLarge(f"The filter “uniq” takes at most {UNIQUE_LIMIT:,} items.")
    if name == "date" and len(values) > 1 and isinstance(values[1], str) and len(values[1]) > DATE_LIMIT:
        raise TooLarge(f"The filter “date” takes a format of at most {DATE_LIMIT} characters.")
    size = RESULTS[name](*values) if name in RESULTS and values else 0
    spend(size)
    if size > VALUE_LIMIT:
        raise TooLarge(f"The value has more than {VALUE_LIMIT:,} characters or items.")


def _length(value: Any) -> int:
    """Return the characters of a value as text, roughly for what is no text yet."""
    return len(value) if isinstance(value, str) else 0 if value is None else weight(value)


def _joined(items: Any, separator: Any = " ", *_: Any) -> int:
    if not isinstance(items, list | tuple | range):
        return _length(items)
    return sum(map(_length, items)) + max(0, len(items) - 1) * _length(separator)


def _replaced(text: Any, old: Any = "", new: Any = "", *_: Any) -> int:
    if not isinstance(text, str) or not isinstance(old, str):
        return _length(text) * (1 + _length(new))
    return len(text) + text.count(old) * max(0, _length(new) - len(old))


def _sum(*values: Any) -> int:
    return sum(map(_length, values))


def _items(*lists: Any) -> int:
    return sum(len(one) for one in lists if isinstance(one, list | tuple | range))


# The characters or items of the result, for the filters that can multiply what they get.
RESULTS: dict[str, Callable[..., int]] = {
    "append": _sum, "prepend": _sum, "replace": _replaced, "replace_first": _sum, "replace_last": _sum,
    "join": _joined, "concat": _items, "split": lambda text, *_: _length(text) // 2,
    **dict.fromkeys(("escape", "escape_once", "url_encode", "newline_to_br"), lambda text, *_: _length(text)),
}  # fmt: skip

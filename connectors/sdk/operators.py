"""The comparisons that a condition can make."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from connectors.sdk.language import as_text

NUMBER_LENGTH, DATE_LENGTH = 1_000, 100  # characters of a text that can be a number or a date
# Not float() and int() alone: they also take “nan”, “infinity”, “1_000” and the digits of other scripts.
NUMERIC = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Operator:
    """One comparison as the builder may choose it, under the heading `family`.

    `holds` gets the value found at the path, null where that is missing, and the value to compare with. An operator
    `of_text` gets an object as its JSON text.
    """

    key: str
    label: str
    family: str
    needs_value: bool
    holds: Callable[[Any, Any], bool]
    of_text: bool = False


def _number(value: Any) -> float | int | None:
    # To Python, true is the number 1; to a builder it is no number.
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if not isinstance(value, str):
        return value
    text = value.strip() if len(value) <= NUMBER_LENGTH else ""
    if len(text) > 400 or not NUMERIC.fullmatch(text):
        return None
    return float(text) if any(mark in text for mark in ".eE") else int(text)


def _moment(value: Any) -> datetime | None:
    """Return a date or date-time: ISO 8601, or DD/MM/YYYY."""
    if not isinstance(value, str) or len(value) > DATE_LENGTH:
        return None
    for read in (datetime.fromisoformat, lambda text: datetime.strptime(f"{text} +0000", "%d/%m/%Y %z")):
        try:
            moment = read(value.strip())
        except ValueError:
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def _compared(read: Callable[[Any], Any], holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Return a comparison that does not hold where either side cannot be read as what it compares.

    So “is greater than 5” and “is at most 5” are both untrue of “n/a”: a condition never guesses.
    """

    def compare(found: Any, value: Any) -> bool:
        left, right = read(found), read(value)
        return left is not None and right is not None and holds(left, right)

    return compare


def _equal(found: Any, value: Any) -> bool:
    """Return whether both are the same, the builder's text standing for a number or truth value too."""
    # An empty field of the form is a text: it must not match what is missing.
    if isinstance(found, str) or found is None or isinstance(found, dict | list):
        return found == value if not isinstance(found, str) else found == as_text(value)
    return as_text(found) == as_text(value)


def _size(value: Any) -> int | None:
    return len(value) if isinstance(value, list | str | dict) else None


def _length(holds: Callable[[int, float], bool]) -> Callable[[Any, Any], bool]:
    def compare(found: Any, value: Any) -> bool:
        size, limit = _size(found), _number(value)
        return size is not None and limit is not None and holds(size, limit)

    return compare


def _is_empty(found: Any, _: Any) -> bool:
    return found is None or found == "" or found == [] or found == {}


def _contains(found: Any, value: Any) -> bool:
    if isinstance(found, list):
        return any(_equal(item, value) for item in found)
    return found is not None and as_text(value) in as_text(found)


TYPES = {"object": dict, "array": list, "text": str}


def _has_type(found: Any, value: Any) -> bool:
    if value == "number":
        return isinstance(found, int | float) and not isinstance(found, bool)
    if value == "boolean":
        return isinstance(found, bool)
    if value == "null":
        return found is None
    return isinstance(found, TYPES.get(str(value), ()))


def _not(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda found, value: not holds(found, value)


def _starts(found: Any, value: Any) -> bool:
    return found is not None and as_text(found).startswith(as_text(value))


def _ends(found: Any, value: Any) -> bool:
    return found is not None and as_text(found).endswith(as_text(value))


def _loosely(found: Any, value: Any) -> bool:
    return found is not None and as_text(found).casefold() == as_text(value).casefold()


def _has_property(found: Any, value: Any) -> bool:
    return isinstance(found, dict) and as_text(value) in found


NUMBER = {
    "number_equals": ("=", lambda a, b: a == b),
    "number_not_equals": ("≠", lambda a, b: a != b),
    "greater_than": (">", lambda a, b: a > b),
    "less_than": ("<", lambda a, b: a < b),
    "greater_or_equal": ("≥", lambda a, b: a >= b),
    "less_or_equal": ("≤", lambda a, b: a <= b),
}
DATE = {
    "date_equals": ("is at", lambda a, b: a == b),
    "date_before": ("is before", lambda a, b: a < b),
    "date_after": ("is after", lambda a, b: a > b),
    "date_at_or_before": ("is at or before", lambda a, b: a <= b),
    "date_at_or_after": ("is at or after", lambda a, b: a >= b),
}

OPERATORS: dict[str, Operator] = {
    operator.key: operator
    for operator in (
        Operator("equals", "matches", "Text", True, _equal),
        Operator("not_equals", "does not match", "Text", True, _not(_equal)),
        Operator("loosely_equals", "loosely matches", "Text", True, _loosely, of_text=True),
        Operator("not_loosely_equals", "does not loosely match", "Text", True, _not(_loosely), of_text=True),
        Operator("contains", "contains", "Text", True, _contains, of_text=True),
        Operator("not_contains", "does not contain", "Text", True, _not(_contains), of_text=True),
        Operator("starts_with", "starts with", "Text", True, _starts, of_text=True),
        Operator("not_starts_with", "does not start with", "Text", True, _not(_starts), of_text=True),
        Operator("ends_with", "ends with", "Text", True, _ends, of_text=True),
        Operator("not_ends_with", "does not end with", "Text", True, _not(_ends), of_text=True),
        Operator("is_empty", "is empty", "Any", False, _is_empty),
        Operator("is_not_empty", "is not empty", "Any", False, _not(_is_empty)),
        *(Operator(key, label, "Number", True, _compared(_number, holds)) for key, (label, holds) in NUMBER.items()),
        Operator("is_positive", "is positive", "Number", False, lambda found, _: (_number(found) or 0) > 0),
        *(Operator(key, label, "Date", True, _compared(_moment, holds)) for key, (label, holds) in DATE.items()),
        Operator("has_property", "has property", "Object", True, _has_property),
        Operator("lacks_property", "lacks property", "Object", True, _not(_has_property)),
        Operator("value_exists", "has the value", "Array", True, _contains, of_text=True),
        Operator("value_missing", "lacks the value", "Array", True, _not(_contains), of_text=True),
        Operator("longer_than", "is longer than", "Array", True, _length(lambda a, b: a > b)),
        Operator("shorter_than", "is shorter than", "Array", True, _length(lambda a, b: a < b)),
        Operator("is_type", "data type is", "Type", True, _has_type),
        Operator("is_object", "is an object", "Type", False, lambda found, _: isinstance(found, dict)),
        Operator("is_array", "is an array", "Type", False, lambda found, _: isinstance(found, list)),
        Operator("is_text", "is a text", "Type", False, lambda found, _: isinstance(found, str)),
        Operator("is_number", "is a number", "Type", False, lambda found, _: _has_type(found, "number")),
        Operator(
            "is_numeric_text",
            "is a numeric text",
            "Type",
            False,
            lambda found, _: isinstance(found, str) and _number(found) is not None,
        ),
        Operator("is_date", "is a date", "Type", False, lambda found, _: _moment(found) is not None),
        Operator("is_falsy", "is falsy", "Type", False, lambda found, _: not found),
        Operator("is_truthy", "is truthy", "Type", False, lambda found, _: bool(found)),
    )
}

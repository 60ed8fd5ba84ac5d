"""Conditions: comparisons of a path with a value, in groups of all or any. A missing path counts as absent (null)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from connectors.sdk import mapping
from connectors.sdk.call import JSON
from connectors.sdk.problems import quoted

DEPTH_LIMIT = 5  # each level is a recursion, in the form and at run time
# Not float() and int() alone: they also take “nan”, “infinity”, “1_000” and the digits of other scripts.
NUMERIC = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Operator:
    """One comparison as the builder may choose it, under the heading `family`.

    `holds` gets the value found at the path, null where that is missing, and the value to compare with.
    """

    key: str
    label: str
    family: str
    needs_value: bool
    holds: Callable[[Any, Any], bool]


def _text(value: Any) -> str:
    return mapping.as_text(value)


def _number(value: Any) -> float | int | None:
    # To Python, true is the number 1; to a builder it is no number.
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if not isinstance(value, str):
        return value
    text = value.strip()
    if len(text) > 400 or not NUMERIC.fullmatch(text):
        return None
    return float(text) if any(mark in text for mark in ".eE") else int(text)


def _moment(value: Any) -> datetime | None:
    """Return a date or date-time: ISO 8601, or DD/MM/YYYY."""
    if not isinstance(value, str):
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
        return found == value if not isinstance(found, str) else found == _text(value)
    return _text(found) == _text(value)


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
    return found is not None and _text(value) in _text(found)


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
    return found is not None and _text(found).startswith(_text(value))


def _ends(found: Any, value: Any) -> bool:
    return found is not None and _text(found).endswith(_text(value))


def _loosely(found: Any, value: Any) -> bool:
    return found is not None and _text(found).casefold() == _text(value).casefold()


def _has_property(found: Any, value: Any) -> bool:
    return isinstance(found, dict) and _text(value) in found


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
        Operator("loosely_equals", "loosely matches", "Text", True, _loosely),
        Operator("not_loosely_equals", "does not loosely match", "Text", True, _not(_loosely)),
        Operator("contains", "contains", "Text", True, _contains),
        Operator("not_contains", "does not contain", "Text", True, _not(_contains)),
        Operator("starts_with", "starts with", "Text", True, _starts),
        Operator("not_starts_with", "does not start with", "Text", True, _not(_starts)),
        Operator("ends_with", "ends with", "Text", True, _ends),
        Operator("not_ends_with", "does not end with", "Text", True, _not(_ends)),
        Operator("is_empty", "is empty", "Any", False, _is_empty),
        Operator("is_not_empty", "is not empty", "Any", False, _not(_is_empty)),
        *(Operator(key, label, "Number", True, _compared(_number, holds)) for key, (label, holds) in NUMBER.items()),
        Operator("is_positive", "is positive", "Number", False, lambda found, _: (_number(found) or 0) > 0),
        *(Operator(key, label, "Date", True, _compared(_moment, holds)) for key, (label, holds) in DATE.items()),
        Operator("has_property", "has property", "Object", True, _has_property),
        Operator("lacks_property", "lacks property", "Object", True, _not(_has_property)),
        Operator("value_exists", "has the value", "Array", True, _contains),
        Operator("value_missing", "lacks the value", "Array", True, _not(_contains)),
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


class Comparison(BaseModel):
    """A path, a key of OPERATORS and a value: `{"path": "trigger.body.total", "op": "greater_than", "value": 9}`."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, max_length=500)
    op: str
    value: Any = None

    @field_validator("op")
    @classmethod
    def op_is_known(cls, op: str) -> str:
        if op not in OPERATORS:
            raise ValueError(f"{quoted(op)} is not a known operator.")
        return op

    @field_validator("path")
    @classmethod
    def path_is_readable(cls, path: str) -> str:
        bare = path.strip().removeprefix("{{").removesuffix("}}").strip()
        if not mapping.PATH.fullmatch(bare):
            raise ValueError(f"{quoted(bare)} is not a path. Write one such as trigger.body.type.")
        return bare

    def holds(self, scope: Mapping[str, JSON]) -> bool:
        found = mapping.resolve(self.path, scope)
        return OPERATORS[self.op].holds(None if isinstance(found, mapping.Missing) else found, self.value)

    def in_words(self) -> str:
        operator = OPERATORS[self.op]
        return f"{self.path} {operator.label}" + (f" “{_text(self.value)[:100]}”" if operator.needs_value else "")


def _kind(member: Any) -> str:
    is_comparison = isinstance(member, Comparison) or (
        isinstance(member, dict) and ("path" in member or "op" in member)
    )
    return "comparison" if is_comparison else "group"


type Member = Annotated[Annotated[Comparison, Tag("comparison")] | Annotated[Group, Tag("group")], Discriminator(_kind)]


class Group(BaseModel):
    """Comparisons and groups of them: `{"all": [...]}` or `{"any": [...]}`; an empty group holds."""

    model_config = ConfigDict(extra="forbid")

    all: list[Member] | None = None
    any: list[Member] | None = None

    @model_validator(mode="after")
    def shape_is_bounded(self) -> Group:
        if self.all is not None and self.any is not None:
            raise ValueError("A group of conditions has either “all” or “any”, not both.")
        if self.depth > DEPTH_LIMIT:
            raise ValueError(f"Groups of conditions can be nested at most {DEPTH_LIMIT} deep.")
        return self

    @property
    def mode(self) -> Literal["all", "any"]:
        return "any" if self.any is not None else "all"

    @property
    def members(self) -> list[Comparison | Group]:
        return (self.any if self.any is not None else self.all) or []

    @property
    def depth(self) -> int:
        return 1 + max((member.depth for member in self.members if isinstance(member, Group)), default=0)

    def holds(self, scope: Mapping[str, JSON]) -> bool:
        results = (member.holds(scope) for member in self.members)
        if not self.members:
            return True
        # These are Python's own any and all: inside a method the fields are reached by self only.
        return any(results) if self.mode == "any" else all(results)

    def in_words(self) -> str:
        joiner = " or " if self.mode == "any" else " and "
        return joiner.join(
            f"({member.in_words()})" if isinstance(member, Group) else member.in_words() for member in self.members
        )


def holds(group: Group, scope: Mapping[str, JSON]) -> bool:
    """Return whether the conditions hold over what templates read; a path that is missing counts as null.

    holds(Group.model_validate({"any": [{"path": "vars.MODE", "op": "equals", "value": "on"}]}), call.scope)
    """
    return group.holds(scope)


def explain(group: Group, scope: Mapping[str, JSON]) -> str:
    """Return in a sentence what did not hold; the values found are not quoted, because they may be secret."""
    if group.mode == "any":
        return f"None of these conditions holds: {group.in_words()}."
    failed = next((member for member in group.members if not member.holds(scope)), None)
    return f"This condition does not hold: {failed.in_words()}." if failed else "All conditions hold."

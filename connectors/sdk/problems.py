"""What is wrong with an input, in sentences: pydantic's wording does not leave this module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

SHOWN = 80  # characters of what somebody wrote


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input: a sentence, and where.

    `loc` leads to the field, as in pydantic; `label` is the field's title.
    """

    loc: tuple[str | int, ...]
    message: str
    label: str = ""

    @property
    def field(self) -> str:
        return str(self.loc[0]) if self.loc else ""

    @property
    def sentence(self) -> str:
        """Return the message as it is read away from its field: with the field's title, unless it names that."""
        is_named = not self.label or f" {self.label} " in f" {self.message}"
        return self.message if is_named else f"{self.label}: {self.message}"


def input_problems(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """Yield what a model found wrong. A validator's ValueError is shown as it is: it has to be a sentence."""
    for detail in error.errors(include_url=False, include_input=False):
        loc, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
        if kind == "value_error":
            message = str(context["error"])
        elif kind == "extra_forbidden":
            message = f"{quoted(str(loc[-1]))} is not a known field."
        else:
            message = f"{_subject(model, loc)} {_rule(kind, context)}."
        yield Problem(loc, message, label_of(model, loc))


def quoted(text: str) -> str:
    """Return what somebody wrote as a sentence can hold it: cut, and without half characters."""
    return f"“{text[:SHOWN].encode('utf-8', 'replace').decode()}”"


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    return next(input_problems(error, model)).sentence


def label_of(model: type[BaseModel], loc: tuple[str | int, ...]) -> str:
    """Return the title of the field that a location leads to, as the form shows it; none for the whole input."""
    field = model.model_fields.get(str(loc[0])) if loc else None
    return (field.title or _readable(str(loc[0]))) if field else ""


def _subject(model: type[BaseModel], loc: tuple[str | int, ...]) -> str:
    """Return what a rule is about: "URL", "Item 2 of Methods", "Name in item 1 of Headers"."""
    field = model.model_fields.get(str(loc[0])) if loc else None
    if field is None:
        return "The input"
    parts, rest = [label_of(model, loc)], loc[1:]
    if numbers := [str(part + 1) for part in rest if isinstance(part, int)]:
        parts.append(f"item {'.'.join(numbers)} of")
    if names := [part for part in rest[-1:] if isinstance(part, str)]:
        parts.append(f"{_inner(field, names[0])} in")
    subject = " ".join(reversed(parts))
    return subject[0].upper() + subject[1:]


def _inner(field: FieldInfo, name: str) -> str:
    """Return the name of something inside a field: a person's own in an object, else a declared one."""
    return quoted(name) if get_origin(field.annotation) is dict else _readable(name)


def _readable(name: str) -> str:
    return name.replace("_", " ").capitalize()


type Context = Mapping[str, Any]

EMPTY = "is empty"
WHOLE_NUMBER, NUMBER, TEXT = "must be a whole number", "must be a number", "must be text"
TRUTH, LIST, OBJECT = "must be true or false", "must be a list", "must be an object with names and values"
DATE, TIME = "must be a date such as 2026-01-31", "must be a time of day such as 09:30"
MOMENT = "must be a date and time such as 2026-01-31T09:30:00Z"

RULES: dict[str, str] = {
    "missing": EMPTY,
    "int_type": WHOLE_NUMBER,
    "int_parsing": WHOLE_NUMBER,
    "int_parsing_size": "has too many digits",
    "int_from_float": WHOLE_NUMBER,
    "float_type": NUMBER,
    "float_parsing": NUMBER,
    "finite_number": NUMBER,
    "bool_type": TRUTH,
    "bool_parsing": TRUTH,
    "string_type": TEXT,
    "string_unicode": "has half a character",
    "string_pattern_mismatch": "has characters that are not allowed, or has them in the wrong place",
    "list_type": LIST,
    "dict_type": OBJECT,
    "mapping_type": OBJECT,
    "model_type": OBJECT,
    "model_attributes_type": OBJECT,
    "invalid_key": "has a name that is not text",
    "recursion_loop": "is nested too deeply",
    "union_tag_invalid": "is of an unknown kind",
    "union_tag_not_found": "is of an unknown kind",
}

FAMILIES: tuple[tuple[str, str], ...] = (
    ("date_from_datetime", DATE), ("datetime", MOMENT), ("timezone", MOMENT), ("date", DATE),
    ("time_delta", "must be a length of time"), ("time", TIME), ("decimal", NUMBER), ("string", TEXT),
    ("url", "must be a URL such as https://example.com"), ("uuid", "must be an id"), ("list", LIST), ("set", LIST),
    ("tuple", LIST), ("json", "must be JSON"), ("iterable", LIST), ("bytes", TEXT),
)  # fmt: skip

BOUNDS: dict[str, Callable[[Context], str]] = {
    "literal_error": lambda known: f"must be {_choices(known['expected'])}",
    "enum": lambda known: f"must be {_choices(known['expected'])}",
    "string_too_short": lambda known: EMPTY if known["min_length"] == 1 else _at_least(known, "character"),
    "string_too_long": lambda known: f"can have at most {counted(known['max_length'], 'character')}",
    "too_short": lambda known: EMPTY if known["min_length"] == 1 else _at_least(known, "item"),
    "too_long": lambda known: f"can have at most {counted(known['max_length'], 'item')}",
    "greater_than": lambda known: f"must be greater than {_bound(known['gt'])}",
    "greater_than_equal": lambda known: f"must be at least {_bound(known['ge'])}",
    "less_than": lambda known: f"must be less than {_bound(known['lt'])}",
    "less_than_equal": lambda known: f"must be at most {_bound(known['le'])}",
}


def _rule(kind: str, context: Context) -> str:
    """Return what holds for a field: the words after its name."""
    if kind in BOUNDS:
        return BOUNDS[kind](context)
    if kind in RULES:
        return RULES[kind]
    return next((words for family, words in FAMILIES if kind.startswith(family)), "is not valid")


def _choices(expected: str) -> str:
    return expected.replace("'", "")


def _at_least(context: Context, noun: str) -> str:
    return f"must have at least {counted(context['min_length'], noun)}"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _bound(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)

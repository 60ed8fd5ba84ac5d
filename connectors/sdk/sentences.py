"""What libraries complain about, in sentences that a builder can read: no library's wording leaves this module."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_origin

from jmespath.exceptions import (
    ArityError,
    EmptyExpressionError,
    IncompleteExpressionError,
    JMESPathTypeError,
    LexerError,
    ParseError,
    UnknownFunctionError,
    VariadictArityError,
)
from liquid.exceptions import (
    BlockNestingError,
    LiquidError,
    LocalNamespaceLimitError,
    LoopIterationLimitError,
    OutputStreamLimitError,
)
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

SHOWN = 80  # characters of what somebody wrote
TEXT_SHOWN = 40


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
        return self.message if not self.label or self.label in self.message else f"{self.label}: {self.message}"


def input_problems(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """Yield what a model found wrong. A validator's ValueError is shown as it is: it has to be a sentence."""
    for detail in error.errors(include_url=False, include_input=False):
        loc, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
        if kind == "value_error":
            message = str(context["error"])
        elif kind == "extra_forbidden":
            message = f"“{str(loc[-1])[:SHOWN]}” is not a known field."
        else:
            message = f"{_subject(model, loc)} {_rule(kind, context)}."
        yield Problem(loc, message, label_of(model, loc))


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
    return f"“{name[:SHOWN]}”" if get_origin(field.annotation) is dict else _readable(name)


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
    "string_too_long": lambda known: f"can have at most {_count(known['max_length'], 'character')}",
    "too_short": lambda known: EMPTY if known["min_length"] == 1 else _at_least(known, "item"),
    "too_long": lambda known: f"can have at most {_count(known['max_length'], 'item')}",
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
    return f"must have at least {_count(context['min_length'], noun)}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _bound(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


# What liquid's parser says, and what a builder is told.
TEMPLATE_RULES: tuple[tuple[str, str], ...] = (
    (r"expected '\}\}', found end of file", "`{{` without `}}`."),
    (r"missing tag name or closing delimiter", "`{%` without `%}`."),
    (r"missing tag name", "`{% %}` is empty."),
    (r"unexpected tag '(?:end(\w+))'", "`{{% end{0} %}}` without `{{% {0} %}}`."),
    (r"unexpected tag '(else|elsif|when)'", "`{{% {0} %}}` has no place here."),
    (r"unexpected tag '(.*)'", "`{{% {0} %}}` is not a known tag."),
    (r"expected tag end(\w+), found", "`{{% {0} %}}` without `{{% end{0} %}}`."),
    (r"(comment|doc) tag wa[sd] never closed", "`{{% {0} %}}` without `{{% end{0} %}}`."),
    (r"found an 'else' tag expression", "`{% else %}` takes no condition: write `{% elsif … %}`."),
    (r"missing expression", "A name or a value is missing."),
    (r"(?:expected|missing) .*(?:found|expression) end of expression", "The expression ends too early."),
    (r"unknown filter '(.*)'", "“{0}” is not a known filter."),
    (r"unbalanced parentheses", "`(` without `)`."),
    (r"""unexpected ["'][\\]?['"]""", "A text has no closing quote."),
    (r"unexpected '(.*)'", "`{0}` has no place here."),
    (r"unknown operator '(.*)'", "`{0}` is not a known operator."),
    (r"'<' and '>' are not supported", "`<` and `>` compare numbers with numbers, and text with text."),
    (r"'in' and 'contains' are not supported", "`contains` looks into text, a list or an object."),
    (r"range literal length", "The range has too many items."),
    (r"expected an integer, found", "A range runs from one whole number to another."),
)

LIMITS: tuple[tuple[type[LiquidError], str], ...] = (
    (BlockNestingError, "The template is nested too deeply."),
    (LoopIterationLimitError, "The loops of the template go round too often."),
    (OutputStreamLimitError, "The text that the template makes is too long."),
    (LocalNamespaceLimitError, "The template assigns too much data."),
)


def template_sentence(error: LiquidError) -> str:
    """Return what is wrong with a template; in one of several lines, with the line."""
    said = next((words for kind, words in LIMITS if isinstance(error, kind)), None) or _template_words(error)
    place = error.context()
    has_lines = bool(place and "\n" in error.token.source.strip()) if error.token else False
    return f"Line {place[0]}: {said}" if place and has_lines else said


def _template_words(error: LiquidError) -> str:
    text = str(error.args[0] if error.args else "")
    for pattern, words in TEMPLATE_RULES:
        if found := re.match(pattern, text):
            return words.format(*(part[:TEXT_SHOWN] for part in found.groups())) if found.groups() else words
    written = error.token.value.strip() if error.token and error.token.start_index >= 0 else ""
    return f"The template cannot be read at `{written[:TEXT_SHOWN]}`." if written else "The template cannot be read."


FILTER_RULES = {
    "date": "needs a date such as 2026-01-31, and a format such as %Y-%m-%d",
    "base64_decode": "needs Base64 text",
    "base64_url_safe_decode": "needs URL-safe Base64 text",
    "divided_by": "needs a number other than 0",
    "modulo": "needs a number other than 0",
    "slice": "needs whole numbers for start and length",
    "truncate": "needs a whole number as its length",
    "truncatewords": "needs a whole number of words",
    "concat": "needs a second list",
    "map": "needs a list of objects",
    "sum": "needs a list of numbers",
    "sort": "needs a list of items that can be compared",
    "sort_natural": "needs a list of items that can be compared",
}


def filter_sentence(name: str) -> str:
    """Return why a filter gives nothing: it has a value or an argument that it cannot use."""
    return f"The filter “{name}” {FILTER_RULES.get(name, 'cannot use this value or its arguments')}."


JSON_KINDS = {
    "string": "text", "number": "a number", "boolean": "true or false", "array": "a list", "object": "an object",
    "null": "nothing", "array-string": "a list of texts", "array-number": "a list of numbers",
    "expref": "an expression such as &name",
}  # fmt: skip


def query_sentence(error: Exception) -> str:
    """Return what is wrong with a JMESPath query, or why it does not fit its source."""
    match error:
        case RecursionError():
            return "The query is nested too deeply."
        case EmptyExpressionError():
            return "The query is empty."
        case UnknownFunctionError():
            return f"“{str(error).rpartition(': ')[2].removesuffix('()')[:SHOWN]}” is not a function of JMESPath."
        case ArityError():
            least = "at least " if isinstance(error, VariadictArityError) else ""
            wanted = _count(int(error.expected_arity), "value")
            return f"The function {error.function_name} needs {least}{wanted}, not {error.actual_arity}."
        case JMESPathTypeError():
            kinds = " or ".join(JSON_KINDS.get(kind, kind) for kind in error.expected_types)
            found = JSON_KINDS.get(error.actual_type, "this value")
            return f"The function {error.function_name} needs {kinds}, not {found}."
        case IncompleteExpressionError():
            return "The query ends too early."
        case LexerError():
            return f"The query cannot be read at character {error.lexer_position + 1}."
        case ParseError():
            return f"The query cannot be read at character {error.lex_position + 1}."
        case _:
            return "The query does not fit its source."

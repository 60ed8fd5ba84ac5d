"""What is wrong with a template or a query, in sentences: no library's wording leaves this module."""

from __future__ import annotations

import re

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

from connectors.sdk.problems import counted, quoted

SHOWN = 40  # characters of a template

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
    (LoopIterationLimitError, "The loops of the template make too many rounds."),
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
            return words.format(*(part[:SHOWN] for part in found.groups())) if found.groups() else words
    written = error.token.value.strip() if error.token and error.token.start_index >= 0 else ""
    return f"The template cannot be read at `{written[:SHOWN]}`." if written else "The template cannot be read."


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
JSON_NAMES = {
    "str": "string", "int": "number", "float": "number", "bool": "boolean", "list": "array", "dict": "object",
    "NoneType": "null",
}  # fmt: skip


def query_sentence(error: Exception) -> str:
    """Return what is wrong with a JMESPath query, or why it does not fit its source."""
    match error:
        case RecursionError():
            return "The query is nested too deeply."
        case EmptyExpressionError():
            return "The query is empty."
        case UnknownFunctionError():
            return f"{quoted(str(error).rpartition(': ')[2].removesuffix('()'))} is not a function of JMESPath."
        case ArityError():
            least = "at least " if isinstance(error, VariadictArityError) else ""
            wanted = counted(int(error.expected_arity), "value")
            return f"The function {error.function_name} needs {least}{wanted}, not {error.actual_arity}."
        case JMESPathTypeError():
            *kinds, last = (JSON_KINDS.get(kind, kind) for kind in error.expected_types)
            wanted = f"{', '.join(kinds)} or {last}" if kinds else last
            return f"The function {error.function_name} needs {wanted}, not {_found(error.actual_type)}."
        case IncompleteExpressionError():
            return "The query ends too early."
        case LexerError():
            return f"The query cannot be read at character {error.lexer_position + 1}."
        case ParseError() if error.token_type == "EOF":
            return "The query ends too early."
        case ParseError():
            return f"The query cannot be read at character {error.lex_position + 1}."
        case _:
            return "The query does not fit its source."


def _found(kind: str) -> str:
    """Return a kind of value in words; for the items of a list JMESPath names it by Python's type."""
    return JSON_KINDS.get(JSON_NAMES.get(kind, kind), "this value")

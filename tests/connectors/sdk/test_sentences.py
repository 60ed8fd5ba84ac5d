"""What is wrong with a template or a query is said in our sentences: no library's wording, no name of a class."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.sdk.call import JSON
from connectors.sdk.mapping import MappingError, problems, render
from connectors.sdk.query import compiled
from connectors.sdk.sentences import query_sentence
from tests.support.wording import is_ours

DATA: dict[str, JSON] = {"t": {"a": "x", "n": 1, "l": [1, "b", {"c": 2}], "o": {"k": 1}, "nothing": None}}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{{ t.a", "`{{` without `}}`."),
        ("one\n{{ t.a", "Line 2: `{{` without `}}`."),
        ("{% if t.a", "`{%` without `%}`."),
        ("{% if t.a %}x", "`{% if %}` without `{% endif %}`."),
        ("{% for x in t.l %}x", "`{% for %}` without `{% endfor %}`."),
        ("{% comment %}", "`{% comment %}` without `{% endcomment %}`."),
        ("{% endif %}", "`{% endif %}` without `{% if %}`."),
        ("{% else %}", "`{% else %}` has no place here."),
        ("{% include 'x' %}", "`{% include %}` is not a known tag."),
        ("{% if %}x{% endif %}", "A name or a value is missing."),
        ("{{ }}", "The expression ends too early."),
        ("{{ t.a | }}", "The expression ends too early."),
        ("{{ 'abc }}", "A text has no closing quote."),
        ("{{ t.a | nope }}", "“nope” is not a known filter."),
        ("{{ t.a ? 1 : 2 }}", "`?` has no place here."),
        ("{{ x! }}", "`!` is not a known operator."),
        ("{{ t.a, t.b }}", "The template cannot be read at `,`."),
        ("{{ " + "x" * 10_001 + " }}", "The template is longer than 10,000 characters."),
        ("{% if a %}" * 200, "The template is nested too deeply."),
    ],
)
def test_template_that_cannot_be_read_says_what_is_wrong(text: str, sentence: str) -> None:
    assert problems(text) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{{ t.b }}", "“t.b” is missing."),
        ("{{ t.l[9] }}", "“t.l[9]” is missing."),
        ("{{ t.nothing | date: '%Y' }}",
         "The filter “date” needs a date such as 2026-01-31, and a format such as %Y-%m-%d."),
        ("{{ t.a | base64_decode }}", "The filter “base64_decode” needs Base64 text."),
        ("{{ t.n | divided_by: 0 }}", "The filter “divided_by” needs a number other than 0."),
        ("at {{ t.n | divided_by: 0 }}", "The filter “divided_by” needs a number other than 0."),
        ("{{ t.a | truncate: 'x' }}", "The filter “truncate” needs a whole number as its length."),
        ("{{ t.l | map: 'x' }}", "The filter “map” needs a list of objects."),
        ("{{ t.l | sort }}", "The filter “sort” needs a list of items that can be compared."),
        ("{{ t.a | plus: 1, 2, 3 }}", "The filter “plus” cannot use this value or its arguments."),
        ("{% if t.a < 1 %}x{% endif %}", "`<` and `>` compare numbers with numbers, and text with text."),
        ("{% if t.n contains 1 %}x{% endif %}", "`contains` looks into text, a list or an object."),
        ("{{ (1..99999999) | size }}", "The range has more than 10,000 items."),
        ("{% for i in (1..99999999) %}{% endfor %}", "The loops of the template make too many rounds."),
    ],
)  # fmt: skip
def test_template_that_cannot_be_rendered_says_what_is_wrong(text: str, sentence: str) -> None:
    assert complaint_about(text) == sentence


WORDS = [
    "{{", "}}", "{%", "%}", "|", ":", ",", ".", "'", '"', "[", "]", "(", ")", "..", "==", "<", ">", "!", "?", "-",
    "0", "1", "1e400", "'x'", "if", "endif", "else", "for", "in", "endfor", "assign", "=", "case", "when", "capture",
    "unless", "comment", "endcomment", "raw", "contains", "and", "not", "é", "\0", "t.a", "t.l", "t.n", "t.o",
    "t.nothing", "nope", "date", "slice", "map", "sort", "sum", "join", "truncate:", "round:", "times:",
    "divided_by:", "replace:", "where:", "find:", "default:",
]  # fmt: skip
PIECES = ["\n", *(f"{space}{word}{space}" for word in WORDS for space in ("", " "))]


@settings(derandomize=True, max_examples=1500, deadline=None, database=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.booleans())
def test_no_template_brings_a_librarys_wording_out(text: str, is_wrapped: bool) -> None:
    complaint = complaint_about(f"{{{{ {text} }}}}" if is_wrapped else text)

    assert complaint is None or is_ours(complaint)


def complaint_about(text: str) -> str | None:
    try:
        render(text, DATA)
    except MappingError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("a[", "The query ends too early."),
        ("a.b.", "The query ends too early."),
        ("a b", "The query cannot be read at character 3."),
        ("'abc", "The query cannot be read at character 1."),
        ("nope(a)", "“nope” is not a function of JMESPath."),
        ("length()", "The function length needs 1 value, not 0."),
        ("not_null()", "The function not_null needs at least 1 value, not 0."),
        ("length(n)", "The function length needs text, a list or an object, not a number."),
        ("sum(l)", "The function sum needs a list of numbers, not text."),
        ("(" * 1500, "The query is nested too deeply."),
    ],
)
def test_query_that_cannot_be_used_says_what_is_wrong(query: str, sentence: str) -> None:
    assert query_complaint(query) == sentence


SYMBOLS = [*"aln.[]*?`'\"(),@&|!{}:0é \\", "`1`", "-1", "sum(", "length(", "sort_by(", "nope(", "max_by(", "join("]


@settings(derandomize=True, max_examples=1000, deadline=None, database=None)
@given(st.lists(st.sampled_from(SYMBOLS), max_size=10).map("".join))
def test_no_query_brings_a_librarys_wording_out(query: str) -> None:
    complaint = query_complaint(query)

    assert complaint is None or is_ours(complaint)


def query_complaint(query: str) -> str | None:
    try:
        compiled(query).search(DATA["t"])
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
        return query_sentence(error)
    return None

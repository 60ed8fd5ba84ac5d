"""Which way a computation goes: here within a small budget, or to a compute child; and what neither would do."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from jmespath.functions import Functions

from connectors.sdk import filters, query
from connectors.sdk.answer import parsed_body
from connectors.sdk.budget import DEPTH_LIMIT, INLINE, OverBudget, TooLarge, budget, measured, written_size
from connectors.sdk.call import JSON, HttpResponse, StepError
from connectors.sdk.conditions import Group, judge
from connectors.sdk.language import ENVIRONMENT
from connectors.sdk.mapping import MappingError, needed, render
from connectors.sdk.operators import OPERATORS

SMALL, LARGE = 100, 300_000  # characters of a text
ARGUMENTS = {
    "append": ": x", "prepend": ": x", "at_least": ": 2", "at_most": ": 2", "concat": ": rows", "date": ": '%Y'",
    "default": ": 'd'", "divided_by": ": 2", "find": ": 'a', 1", "find_index": ": 'a', 1", "has": ": 'a', 1",
    "map": ": 'a'", "minus": ": 2", "modulo": ": 2", "plus": ": 2", "reject": ": 'a', 1", "remove": ": 'y'",
    "remove_first": ": 'y'", "remove_last": ": 'y'", "replace": ": 'y', 'z'", "replace_first": ": 'y', 'z'",
    "replace_last": ": 'y', 'z'", "slice": ": 0, 2", "split": ": 'y'", "times": ": 2", "where": ": 'a', 1",
}  # fmt: skip
LISTS = {"compact", "concat", "find", "find_index", "has", "join", "map", "reject", "reverse", "sort", "sort_natural",
         "sum", "uniq", "where"}  # fmt: skip
NUMBERS = {"abs", "at_least", "at_most", "ceil", "divided_by", "floor", "minus", "modulo", "plus", "round", "times"}
ALWAYS_HERE = {"size", "first", "last", "default", "date"}


def way(compute: Callable[[], Any]) -> str:
    """Return where a computation ends: here, in a child, or nowhere."""
    try:
        with budget():
            compute()
    except OverBudget:
        return "child"
    except (MappingError, StepError):
        return "refused"
    return "here"


def text_for(name: str) -> str:
    return "{{ " + ("rows" if name in LISTS else "x") + f" | {name}{ARGUMENTS.get(name, '')}" + " }}"


def scope(size: int) -> dict[str, JSON]:
    return {"x": "y" * size, "rows": [{"a": number} for number in range(size // 20)]}


@pytest.mark.parametrize("name", ENVIRONMENT.filters)
def test_filter_goes_over_much_in_a_child_only(name: str) -> None:
    large = way(lambda: render(text_for(name), scope(LARGE)))

    assert name in filters.COSTS
    assert way(lambda: render(text_for(name), scope(SMALL))) in ("here", "refused")
    assert large == "here" if name in ALWAYS_HERE else large in ("child", "refused") and name not in ALWAYS_HERE


def test_every_filter_that_a_template_may_use_says_what_it_costs() -> None:
    assert set(ENVIRONMENT.filters) == set(filters.COSTS)


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in (1..9999) %}" + "{% if i == 0 %}{% endif %}" * 300 + "{% endfor %}",
        "{% for i in (1..9999) %}" + '{{ "x" | upcase | size }}' * 300 + "{% endfor %}",
        "{% for i in (1..9999) %}{% endfor %}" * 250,
        "{% for a in (1..99) %}{% for b in (1..99) %}{{ x }}{% endfor %}{% endfor %}",
        "{% if false " + "or x contains 'yz' " * 400 + "%}{% endif %}",
        "{% case rows %}" + "{% when rows, rows, rows, rows %}" * 20 + "{% endcase %}",
        "{% assign a = x %}{% for i in (1..60) %}{% assign a = a | append: a %}{% endfor %}",
        "{% for i in (1..299) %}{% if x contains 'yyyyz' %}{% endif %}{% endfor %}{{ x }}",
        "{% for i in (1..300) %}{% capture c %}{{ rows }}{% endcapture %}{% endfor %}",
    ],
)  # fmt: skip
def test_template_that_does_much_goes_to_a_child(text: str) -> None:
    assert way(lambda: render(text, scope(10_000))) == "child"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("{{ x }}", 3_000_000), ("Order {{ rows[0].a }}", 3_000_000), ("{{ rows[0].a | plus: 1 }}", 3_000_000),
        ("{% if rows[0].a == 0 %}yes{% endif %}", 2_000), ("{% for r in rows %}{{ r.a }};{% endfor %}", 2_000),
        ("{{ x | upcase | truncate: 20 }}!", 20_000),
    ],
)  # fmt: skip
def test_usual_template_is_rendered_here(text: str, size: int) -> None:
    assert way(lambda: render(text, scope(size))) == "here"


FUNCTIONS = {
    "contains": "contains(x, 'z')", "join": "join('-', names)", "map": "map(&a, rows)", "sort_by": "sort_by(rows, &a)",
    "max_by": "max_by(rows, &a)", "min_by": "min_by(rows, &a)", "starts_with": "starts_with(x, 'z')",
    "ends_with": "ends_with(x, 'z')", "to_string": "to_string(rows)", "to_number": "to_number(x)",
    "merge": "merge(keys, keys)", "keys": "keys(keys)", "values": "values(keys)", "not_null": "type(not_null(x))",
    "sort": "sort(names)", "max": "max(names)", "min": "min(names)", "avg": "avg(numbers)", "sum": "sum(numbers)",
    "abs": "abs(`1`)", "ceil": "ceil(`1`)", "floor": "floor(`1`)", "length": "length(x)", "reverse": "reverse(rows)",
    "to_array": "type(to_array(x))", "type": "type(x)",
}  # fmt: skip


@cache
def source(count: int) -> JSON:
    return {
        "x": "y" * 10 * count, "rows": [{"a": number} for number in range(count)], "numbers": list(range(count)),
        "names": [str(number) for number in range(count)], "keys": {str(number): number for number in range(count)},
    }  # fmt: skip


@pytest.mark.parametrize("name", Functions.FUNCTION_TABLE)
def test_function_goes_over_much_in_a_child_only(name: str) -> None:
    flat = name in ("abs", "ceil", "floor", "length", "not_null", "to_array", "type")

    assert name in query.COSTS
    assert way(lambda: query.search(FUNCTIONS[name], source(20))) == "here"
    assert way(lambda: query.search(FUNCTIONS[name], source(300_000))) == ("here" if flat else "child")


@pytest.mark.parametrize(
    "text",
    [
        "|".join(["[@,@]"] * 22), "|".join(["[@,@]"] * 27), "|".join(["[@,@]"] * 27) + "|to_string(@)",
        "|".join(["[@,@]"] * 27) + "|@==[@[0],@[1]]", "|".join(["{a:@,b:@}"] * 25), "|".join(["[@,@][]"] * 24),
        "|".join(["[@,@]"] * 25) + "|contains(@, `1`)",
        "map(&[@,@,@,@][], [[@,@,@,@],[@,@,@,@]])|" * 9 + "@", "[@,@]|" * 20 + "sort_by(@, &to_string(@))",
    ],
)  # fmt: skip
def test_query_that_multiplies_goes_to_a_child(text: str) -> None:
    assert way(lambda: query.search(text, "x")) == "child"


@pytest.mark.parametrize("op", OPERATORS)
def test_operator_goes_over_much_in_a_child_only(op: str) -> None:
    def group(path: str) -> Group:
        return Group.model_validate({"all": [{"path": path, "op": op, "value": "x"}] * 100})

    flat = not OPERATORS[op].of_text

    assert way(lambda: judge(group("small"), {"small": {"a": "y" * 100}})) == "here"
    assert way(lambda: judge(group("large"), {"large": {"a": "y" * 3_000_000}})) == ("here" if flat else "child")


def test_conditions_are_a_hundred_at_most() -> None:
    many = Group.model_validate({"any": [{"all": [{"path": "a", "op": "equals", "value": "x"}] * 50}] * 2})

    with pytest.raises(Exception, match="at most 100"):
        judge(many, {})


def test_value_that_holds_itself_often_weighs_what_it_would_be_when_written() -> None:
    value: JSON = "x"
    for _ in range(40):
        value = [value, value]

    assert measured(value, INLINE)[0] > INLINE


@pytest.mark.parametrize("levels", [DEPTH_LIMIT, DEPTH_LIMIT + 1, 900])
def test_depth_is_counted(levels: int) -> None:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]

    assert is_refused(value) == (levels > DEPTH_LIMIT)
    assert is_refused([value, 2**70]) == (levels + 1 > DEPTH_LIMIT)


def test_input_that_is_nested_too_deeply_is_refused() -> None:
    value: JSON = "{{ x }}"
    for _ in range(900):
        value = [value]

    with pytest.raises(MappingError, match="more than 50 levels"):
        render(value, {"x": 1})


def is_refused(value: JSON) -> bool:
    try:
        written_size(value)
    except TooLarge:
        return True
    return False


def test_child_gets_only_what_a_template_reads() -> None:
    values: dict[str, JSON] = {"trigger": {"body": {"id": 1, "rest": "x"}}, "vars": {"A": "a", "SECRET": "s"}, "s": [1]}

    assert needed(["{{ trigger.body.id }}{{ vars.A }}"], values) == {"trigger": {"body": {"id": 1}}, "vars": {"A": "a"}}
    assert needed("{{ vars[trigger.body.id] }}", values) == {"trigger": {"body": {"id": 1}}, "vars": values["vars"]}
    assert needed("{{ trigger.body.size }}", values) == {"trigger": values["trigger"]}


@pytest.mark.parametrize(
    ("charset", "body", "text"),
    [
        ("punycode", b"a-" * 200_000, "a-" * 200_000), ("unicode_escape", rb"\u0041", r"\u0041"),
        ("zip", b"PK", "PK"), ("idna", b"xn--a" * 10, "xn--a" * 10), ("Shift_JIS", "値".encode("shift_jis"), "値"),
        ("UTF-16LE", "é".encode("utf-16-le"), "é"), ("windows-1251", "я".encode("cp1251"), "я"),
        ("../../os", b"x", "x"), ("utf-7", b"+AGE-", "+AGE-"),
    ],
)  # fmt: skip
def test_answer_is_decoded_by_charsets_that_are_linear(charset: str, body: bytes, text: str) -> None:
    headers = {"content-type": f"text/plain; charset={charset}"}

    assert parsed_body(HttpResponse(status=200, headers=headers, body=body, url="")) == text


@pytest.mark.parametrize(
    "body", [b"[" * 1000 + b"]" * 1000, b"[" + b"[]," * 1_500_000 + b"[]]", b"[" + b"9" * 4000 + b"]", b"[1e999]"]
)
def test_answer_that_no_step_could_read_stays_text(body: bytes) -> None:
    headers = {"content-type": "application/json"}

    assert parsed_body(HttpResponse(status=200, headers=headers, body=body, url="")) == body.decode()

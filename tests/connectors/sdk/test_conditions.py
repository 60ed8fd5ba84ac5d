"""Every operator of conditions, and how groups of them hold."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from connectors.sdk.conditions import Group, explain, holds
from connectors.sdk.operators import OPERATORS

# operator, value to compare with, values for which it holds, values for which it does not; ABSENT is a missing path
ABSENT = object()
TABLE: list[tuple[str, Any, list[Any], list[Any]]] = [
    ("equals", "Ab", ["Ab"], ["ab", "Abc", None, ABSENT]),
    ("equals", "5", [5, "5", 5.0], [6, "05"]),
    ("not_equals", "Ab", ["ab", ABSENT], ["Ab"]),
    ("loosely_equals", "Ab", ["AB", "ab"], ["a", ABSENT]),
    ("not_loosely_equals", "Ab", ["a", ABSENT], ["aB"]),
    ("contains", "b", ["abc", ["b"]], ["ac", ["bc"], ABSENT]),
    ("not_contains", "b", ["ac", ABSENT], ["abc"]),
    ("starts_with", "ab", ["abc"], ["cab", ABSENT]),
    ("not_starts_with", "ab", ["cab", ABSENT], ["abc"]),
    ("ends_with", "bc", ["abc"], ["bca", ABSENT]),
    ("not_ends_with", "bc", ["bca", ABSENT], ["abc"]),
    ("is_empty", None, ["", [], {}, None, ABSENT], ["a", 0, False, [0]]),
    ("is_not_empty", None, ["a", 0, [0]], ["", [], {}, ABSENT]),
    ("number_equals", "5", [5, 5.0, "5"], [6, "five", True, ABSENT]),
    ("number_not_equals", 5, [6], [5, "five", ABSENT]),
    ("greater_than", 5, [6, "5.5"], [5, "x", ABSENT]),
    ("less_than", 5, [4], [5, ABSENT]),
    ("greater_or_equal", 5, [5, 6], [4, ABSENT]),
    ("less_or_equal", 5, [5, 4], [6, ABSENT]),
    ("is_positive", None, [1, "2"], [0, -1, "x", ABSENT]),
    ("date_equals", "25/12/2026", ["2026-12-25", "25/12/2026"], ["2026-12-26", "x", ABSENT]),
    ("date_before", "2026-12-25T10:00:00Z", ["2026-12-25T09:59:59Z"], ["2026-12-25T12:00:00+01:00"]),
    ("date_after", "2026-12-25", ["2026-12-26T00:00:00Z"], ["24/12/2026", ABSENT]),
    ("date_at_or_before", "2026-12-25", ["25/12/2026"], ["2026-12-26"]),
    ("date_at_or_after", "2026-12-25", ["25/12/2026"], ["2026-12-24"]),
    ("has_property", "a", [{"a": None}], [{"b": 1}, "a", ABSENT]),
    ("lacks_property", "a", [{"b": 1}, ABSENT], [{"a": 1}]),
    ("value_exists", "a", [["a", "b"]], [["c"], [], ABSENT]),
    ("value_missing", "a", [["c"], ABSENT], [["a"]]),
    ("longer_than", 1, [["a", "b"]], [["a"], ABSENT]),
    ("shorter_than", "2", [["a"]], [["a", "b"], ABSENT]),
    ("is_type", "number", [1, 1.5], ["1", True, ABSENT]),
    ("is_type", "null", [None, ABSENT], [0]),
    ("is_object", None, [{}], [[], ABSENT]),
    ("is_array", None, [[]], [{}, ABSENT]),
    ("is_text", None, [""], [1, ABSENT]),
    ("is_number", None, [0, 1.5], ["1", True, ABSENT]),
    ("is_numeric_text", None, ["1", "-1.5"], [1, "x", "", "nan", "inf", "1_0", ABSENT]),
    ("is_date", None, ["2026-12-25", "25/12/2026"], ["x", 1, ABSENT]),
    ("is_falsy", None, [0, "", False, None, ABSENT], [1, "a"]),
    ("is_truthy", None, [1, "a", True], [0, "", ABSENT]),
]
ROWS = [(op, value, found, True) for op, value, yes, _ in TABLE for found in yes]
ROWS += [(op, value, found, False) for op, value, _, no in TABLE for found in no]


@pytest.mark.parametrize(("op", "value", "found", "expected"), ROWS)
def test_operator_holds_for_what_it_says(op: str, value: Any, found: Any, expected: bool) -> None:
    body = {} if found is ABSENT else {"x": found}
    group = Group.model_validate({"all": [{"path": "trigger.body.x", "op": op, "value": value}]})

    assert holds(group, {"trigger": {"body": body}}) is expected


def test_every_operator_is_in_the_table() -> None:
    assert {row[0] for row in TABLE} == set(OPERATORS)


def comparison(value: int) -> dict[str, Any]:
    return {"path": "x", "op": "equals", "value": value}


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ({}, True), ({"all": []}, True), ({"any": []}, True), ({"all": [comparison(1), comparison(2)]}, False),
        ({"any": [comparison(1), comparison(2)]}, True), ({"all": [{"any": [comparison(1), comparison(2)]}, {}]}, True),
        ({"any": [comparison(2), {"all": [comparison(1), comparison(2)]}]}, False),
    ],
)  # fmt: skip
def test_group_holds_as_its_members_do(group: dict[str, Any], expected: bool) -> None:
    assert holds(Group.model_validate(group), {"x": 1}) is expected


def test_explanation_names_what_failed_without_the_value_found() -> None:
    group = Group.model_validate({"all": [comparison(2)]})

    assert explain(group, {"x": "private"}) == "This condition does not hold: x matches “2”."


def nested(depth: int) -> dict[str, Any]:
    return {"all": [nested(depth - 1)]} if depth > 1 else {"all": []}


@pytest.mark.parametrize(
    "group",
    [
        {"all": [], "any": []}, {"some": []}, {"all": [{"path": "x", "op": "resembles"}]},
        {"all": [{"path": "x y", "op": "is_empty"}]}, {"all": [{"path": "", "op": "is_empty"}]}, nested(6),
    ],
)  # fmt: skip
def test_group_is_refused_when_it_cannot_be_read(group: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Group.model_validate(group)

"""JMESPath, with each operation paid for before it runs (connectors.sdk.budget).

Ten characters can double a value: `[@,@]` puts the same list twice into another one. So whatever goes over a value
first asks how large it would be when written out, and so does the result.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import isfinite, log2
from typing import Any, cast

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult
from jmespath.visitor import TreeInterpreter

from connectors.sdk.budget import TooLarge, checked_result, spend, weight
from connectors.sdk.call import JSON, StepError
from connectors.sdk.sentences import query_sentence

VISIT = 100  # units of one step of the evaluation
UNUSABLE = (JMESPathError, RecursionError, TypeError, ValueError, ArithmeticError, AttributeError, KeyError)


def _linear(values: list[Any]) -> float:
    return sum(map(weight, values))


def _sorting(values: list[Any]) -> float:
    lists = [value for value in values if isinstance(value, list)]
    return sum(weight(one) * (2 + log2(len(one) + 1)) for one in lists)


def _flat(values: list[Any]) -> float:
    """Return the cost of what looks at the items of a list or object, and not into them."""
    return sum(len(value) for value in values if isinstance(value, list | dict | str))


def _joined(values: list[Any]) -> float:
    separator, items = (*values, None, None)[:2]
    between = len(separator) * len(items) if isinstance(separator, str) and isinstance(items, list) else 0
    return _linear(values) + between


# The units of calling a function, from its values: each one of JMESPath stands here.
COSTS: dict[str, Callable[[list[Any]], float]] = {
    **dict.fromkeys(("abs", "ceil", "floor", "length", "not_null", "to_array", "type"), lambda values: 0),
    **dict.fromkeys(("keys", "values", "merge", "map", "starts_with", "ends_with", "reverse"), _flat),
    **dict.fromkeys(("avg", "sum", "contains", "to_string", "to_number", "max", "min"), _linear),
    "join": _joined,
    **dict.fromkeys(("sort", "sort_by", "max_by", "min_by"), _sorting),
}  # fmt: skip


class _Interpreter(TreeInterpreter):  # type: ignore[misc]
    def visit(self, node: dict[str, Any], *arguments: Any, **keywords: Any) -> Any:
        spend(VISIT)
        return super().visit(node, *arguments, **keywords)

    def visit_comparator(self, node: dict[str, Any], value: Any) -> Any:
        left, right = (self.visit(child, value) for child in node["children"])
        spend(weight(left) + weight(right))
        literals = [{"type": "literal", "value": side, "children": []} for side in (left, right)]
        return super().visit_comparator({**node, "children": literals}, value)

    def visit_flatten(self, node: dict[str, Any], value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if isinstance(base, list):
            size = sum(len(item) if isinstance(item, list) else 1 for item in base)
            _spend_items(size)
        return super().visit_flatten({**node, "children": [{"type": "literal", "value": base, "children": []}]}, value)

    def visit_slice(self, node: dict[str, Any], value: Any) -> Any:
        spend(len(value) if isinstance(value, list) else 0)
        return super().visit_slice(node, value)

    def visit_function_expression(self, node: dict[str, Any], value: Any) -> Any:
        values = [self.visit(child, value) for child in node["children"]]
        if cost := COSTS.get(node["value"]):
            spend(cost(values))
        return self._functions.call_function(node["value"], values)


ITEMS_LIMIT = 1_000_000  # of one list on the way


def _spend_items(size: int) -> None:
    spend(size)
    if size > ITEMS_LIMIT:
        raise TooLarge(f"A list of the query has more than {ITEMS_LIMIT:,} items.")


@lru_cache(maxsize=1024)  # a live version uses the same queries at every execution
def compiled(query: str) -> ParsedResult:
    return jmespath.compile(query)


def search(query: str, source: JSON) -> JSON:
    """Return what a JMESPath query finds in a value; raise StepError when it cannot be applied."""
    try:
        found = _Interpreter().visit(compiled(query).parsed, source)
        spend(weight(found))
        checked_result(found)
        return cast(JSON, _plain(found))
    except TooLarge as error:
        raise StepError(str(error), code="too_large_to_compute") from None
    except UNUSABLE as error:
        raise StepError(query_sentence(error), code="invalid_query") from None


def _plain(value: Any) -> Any:
    """Return a result that holds nothing but JSON; raise ValueError for an expression or infinity as a value."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case None | bool() | int() | str():
            return value
        case float() if isfinite(value):
            return value
        case _:
            raise ValueError("not JSON")

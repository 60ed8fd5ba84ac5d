"""The editor of conditions: comparisons in groups of all or any, the groups themselves joined by all or any."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import orjson
from django import forms
from pydantic import ValidationError

from automations.builder.inputs import no_nul
from connectors.sdk.conditions import OPERATORS, Group

FAMILIES = [
    (family, [(operator.key, operator.label) for operator in operators])
    for family, operators in groupby(sorted(OPERATORS.values(), key=lambda o: o.family), key=lambda o: o.family)
]
FAMILY_ORDER = ["Text", "Any", "Number", "Date", "Array", "Object", "Type"]
FAMILIES.sort(key=lambda item: FAMILY_ORDER.index(item[0]) if item[0] in FAMILY_ORDER else 99)
ROW = re.compile(r"-(\d{1,3})-(\d{1,3})-path")

type Editable = list[dict[str, Any]]


def as_groups(value: Any) -> tuple[str, Editable] | None:
    """Return how groups are joined and each group's rows; None for what is nested deeper than the editor shows."""
    value = value if isinstance(value, dict) else {}
    mode = "any" if value.get("any") is not None else "all"
    members = value.get(mode) or []
    lone = [member for member in members if "op" in member]
    nested = [member for member in members if "op" not in member]
    if not nested:
        return "all", [{"mode": mode, "rows": lone}]
    groups = [{"mode": mode, "rows": lone}] if lone else []
    for group in nested:
        inner = "any" if group.get("any") is not None else "all"
        rows = group.get(inner) or []
        if any("op" not in row for row in rows):
            return None
        groups.append({"mode": inner, "rows": rows})
    return mode, groups


def as_stored(mode: str, groups: Editable) -> dict[str, Any]:
    filled = [{group["mode"]: group["rows"]} for group in groups if group["rows"]]
    if len(filled) <= 1:
        return filled[0] if filled else {"all": []}
    return {mode: filled}


class ConditionsWidget(forms.Widget):
    template_name = "automations/widgets/_conditions.html"
    use_fieldset = True
    spare = 1  # empty rows in the last group; with 2, an empty group as well

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:
        if f"{name}-json" in data:
            return data[f"{name}-json"]
        groups: dict[int, dict[str, Any]] = {}
        for group, row in sorted(_rows(data, name)):
            mode = "any" if data.get(f"{name}-{group}-mode") == "any" else "all"
            rows = groups.setdefault(group, {"mode": mode, "rows": []})["rows"]
            path, op, value = (str(data.get(f"{name}-{group}-{row}-{part}", "")) for part in ("path", "op", "value"))
            if path.strip():
                needs_value = op not in OPERATORS or OPERATORS[op].needs_value
                rows.append({"path": path.strip(), "op": op, **({"value": value} if needs_value else {})})
        return as_stored("any" if data.get(f"{name}-mode") == "any" else "all", list(groups.values()))

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:
        return False

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        shown = None if isinstance(value, str) else as_groups(value)
        mode, groups = shown or ("all", [])
        groups = [*groups, *({"mode": "all", "rows": []} for _ in range(self.spare - 1))]
        text = value if isinstance(value, str) else orjson.dumps(value or {}, option=orjson.OPT_INDENT_2).decode()
        context["widget"] |= {
            "mode": mode,
            "groups": [{**group, "shown": [*group["rows"], {}]} for group in groups],
            "grow": name.partition("-")[2],
            "json": None if shown else text,
            "families": FAMILIES,
        }
        return context

    def id_for_label(self, id_: str) -> str:
        return ""


class Conditions(forms.Field):
    widget = ConditionsWidget

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, **options)

    def prepare_value(self, value: Any) -> Any:
        return value.model_dump(mode="json", exclude_none=True) if isinstance(value, Group) else value

    def clean(self, value: Any) -> Any:
        """Return the group as plain JSON; refuse one that a definition could not hold."""
        if isinstance(value, str):
            value = _parsed(value)
        no_nul(orjson.dumps(value).decode().replace("\\u0000", "\x00"))
        try:
            return Group.model_validate(value).model_dump(mode="json", exclude_none=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            rule = first["msg"].removeprefix("Value error, ")
            raise forms.ValidationError(f"{_place(value, first['loc'])}{rule}") from None


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        raise forms.ValidationError(f"Not JSON: {error}") from None


def _place(value: Any, loc: tuple[Any, ...]) -> str:
    """Return the path of the comparison that is wrong, to be read before the rule."""
    for part in loc:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            continue
        if isinstance(value, dict) and value.get("path"):
            return f"“{value['path'][:100]}”: "
    return ""


def _rows(data: Mapping[str, Any], name: str) -> list[tuple[int, int]]:
    found = (ROW.fullmatch(key.removeprefix(name)) for key in data if key.startswith(f"{name}-"))
    return [(int(match[1]), int(match[2])) for match in found if match]

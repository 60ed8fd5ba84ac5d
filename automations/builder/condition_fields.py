"""The editor of conditions: two levels, comparisons in groups, each group and the groups together joined by all or any.

A definition may hold deeper ones, made by import or API: the editor shows them as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import orjson
from django import forms
from pydantic import ValidationError

from automations.builder.inputs import no_nul
from connectors.sdk.conditions import Group, checked_size
from connectors.sdk.operators import OPERATORS
from connectors.sdk.problems import input_problems, quoted

FAMILIES = [
    (family, [(operator.key, operator.label) for operator in operators])
    for family, operators in groupby(sorted(OPERATORS.values(), key=lambda o: o.family), key=lambda o: o.family)
]
FAMILY_ORDER = ["Text", "Any", "Number", "Date", "Array", "Object", "Type"]
FAMILIES.sort(key=lambda item: FAMILY_ORDER.index(item[0]) if item[0] in FAMILY_ORDER else 99)
ROW = re.compile(r"-(\d{1,3})-(\d{1,3})-path")

type Editable = list[dict[str, Any]]  # groups: {"mode": "all" or "any", "rows": [{"path", "op", "value"}]}


def as_groups(value: Any) -> tuple[str, Editable] | None:
    """Return how the groups are joined, and the groups; None for conditions that are nested deeper than two levels.

    Comparisons that stand beside groups become a group of their own, joined as they were.
    """
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
    """Return edited groups as a definition stores them, without empty ones and without a level that joins only one."""
    filled = [{group["mode"]: group["rows"]} for group in groups if group["rows"]]
    if len(filled) <= 1:
        return filled[0] if filled else {"all": []}
    return {mode: filled}


class ConditionsWidget(forms.Widget):
    """Rows of path, operator and value in groups; a text area of JSON for conditions that are nested deeper."""

    template_name = "automations/widgets/_conditions.html"
    use_fieldset = True
    spare = 1  # empty rows in the last group; with 2, an empty group as well

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:
        """Return conditions as a definition stores them, or the JSON text that was typed; rows without a path go."""
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

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        shown = None if isinstance(value, str) else as_groups(value)
        mode, groups = shown or ("all", [])
        groups = [*groups, *({"mode": "all", "rows": []} for _ in range(self.spare - 1))]
        text = value if isinstance(value, str) else orjson.dumps(value or {}, option=orjson.OPT_INDENT_2).decode()
        context["widget"] |= {
            "mode": mode,
            "groups": [{**group, "shown": [*group["rows"], {}]} for group in groups],
            "grow": name.partition("-")[2],  # the field's name without the form's prefix
            "json": None if shown else text,
            "families": FAMILIES,
        }
        return context

    def id_for_label(self, id_: str) -> str:
        return ""  # the label is a fieldset's legend


class Conditions(forms.Field):
    """Conditions of a trigger or a step; without any they always hold."""

    widget = ConditionsWidget

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, **options)

    def prepare_value(self, value: Any) -> Any:
        return value.model_dump(mode="json", exclude_none=True) if isinstance(value, Group) else value

    def clean(self, value: Any) -> Any:
        """Return the group as plain JSON; refuse one that a definition could not hold."""
        if isinstance(value, str):
            value = _parsed(value)
        # PostgreSQL cannot store a null character, not even as an escape in JSON.
        no_nul(orjson.dumps(value).decode().replace("\\u0000", "\x00"))
        try:
            return checked_size(Group.model_validate(value)).model_dump(mode="json", exclude_none=True)
        except ValidationError as error:
            first = next(input_problems(error, Group))
            place = _place(value, first.loc)
            raise forms.ValidationError(
                first.message if place in first.message else f"{place}: {first.message}"
            ) from None
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        raise forms.ValidationError(f"Line {error.lineno} is not JSON.") from None


def _place(value: Any, loc: tuple[Any, ...]) -> str:
    """Return the path of the wrong comparison, for the beginning of the sentence; nothing when no comparison is."""
    for part in loc:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            continue
        if isinstance(value, dict) and value.get("path"):
            return quoted(str(value["path"]))
    return ""


def _rows(data: Mapping[str, Any], name: str) -> list[tuple[int, int]]:
    """Return the numbers of group and row of every comparison that was sent."""
    found = (ROW.fullmatch(key.removeprefix(name)) for key in data if key.startswith(f"{name}-"))
    return [(int(match[1]), int(match[2])) for match in found if match]

"""The fields of an input as a table: what may stand in each, what it holds at first, and what it is for."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from tools.reference.markdown import code, table

SHOWN_CHOICES = 12
NUMBERS = {"integer": "whole number", "number": "number"}
# What a field of the builder's form takes is said by its widget, where the JSON schema alone says too little.
WIDGETS = {
    "pairs": "names and values",
    "fields": "names and values",
    "conditions": "conditions",
    "switch": "on or off",
    "json": "any value",
}

type Schema = dict[str, Any]


def table_of(model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    required = schema.get("required", [])
    rows = [
        [field["title"], code(name), kind(field), _default(field, name in required), _meaning(field)]
        for name, field in schema["properties"].items()
    ]
    return table(["Field", "Name", "Takes", "Default", "Meaning"], rows)


def kind(field: Schema) -> str:
    """Return in words what a field takes: its kind and its bounds."""
    field = _without_null(field)
    widget = field.get("widget", "")
    if choices := field.get("enum"):
        return f"one of {_choices(choices)}"
    if widget in WIDGETS:
        return WIDGETS[widget] + _count(field, "maxItems", "of them")
    match field.get("type"):
        case "array":
            chosen = field.get("items", {}).get("enum")
            return f"some of {_choices(chosen)}" if chosen else "list of texts" + _count(field, "maxItems", "items")
        case "string" if field.get("format") == "date":
            return "date, yyyy-mm-dd"
        case "string":
            return "text" + _count(field, "maxLength", "characters")
        case "integer" | "number" as name:
            return NUMBERS[name] + _span(field)
        case "boolean":
            return "on or off"
        case _:
            return "any value"


def _without_null(field: Schema) -> Schema:
    """Return the field with the schema of its value: one that may be empty has null beside that."""
    values = [part for part in field.get("anyOf", []) if part.get("type") != "null"]
    return {**field, **values[0]} if values else field


def _choices(choices: list[str]) -> str:
    return ", ".join(map(code, choices)) if len(choices) <= SHOWN_CHOICES else "the list"


def _count(field: Schema, limit: str, what: str) -> str:
    return f", at most {field[limit]:,} {what}" if limit in field else ""


def _span(field: Schema) -> str:
    if "minimum" in field and "maximum" in field:
        return f" from {field['minimum']:g} to {field['maximum']:g}"
    return f" above {field['exclusiveMinimum']:g}" if "exclusiveMinimum" in field else ""


def _default(field: Schema, is_required: bool) -> str:
    if is_required:
        return "required"
    match field.get("default"):
        case None | "" | [] | {}:
            return "empty"
        case bool() as is_on:
            return "on" if is_on else "off"
        case list() as items:
            return ", ".join(map(code, items))
        case value:
            return code(value)


def _meaning(field: Schema) -> str:
    units, examples = field.get("units", ()), field.get("examples", [])
    parts = [
        field.get("description", ""),
        f"For {', '.join(units)}." if units else "",
        f"Example: {_example(examples[0])}." if examples else "",
        "Under *Advanced*." if field.get("advanced") else "",
    ]
    return " ".join(part for part in parts if part)


def _example(value: object) -> str:
    match value:
        case list():
            return ", ".join(map(code, value))
        case dict():
            return ", ".join(f"{code(name)} from {code(item)}" for name, item in value.items())
        case _:
            return code(value)

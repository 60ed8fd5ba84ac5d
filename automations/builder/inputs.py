"""Form fields made from a connector's declaration: each turns what was typed into the JSON that a definition stores.

Any field may hold a template instead of its own kind of value, so only the shape is checked here; the connector's model
checks the values, and warnings show them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
from django import forms
from django.core.validators import ProhibitNullCharactersValidator

from connectors.sdk.budget import measured
from connectors.sdk.call import JSON

LEVELS = 40  # of a value that is typed; connectors.sdk.mapping renders some more, with what stands around it
# PostgreSQL cannot store a null character, not even as an escape in JSON.
no_nul = ProhibitNullCharactersValidator()


class Value(forms.CharField):
    """Text on one line, or on `rows` lines; the base of every field that is typed."""

    def __init__(self, *, rows: int = 0, example: str = "", is_code: bool = False, **options: Any) -> None:
        attrs: dict[str, Any] = {"data-insertable": "template", "autocomplete": "off"}
        if example:
            attrs["placeholder"] = example
        if is_code:
            attrs |= {"class": "mono", "spellcheck": "false"}
        widget = forms.Textarea(attrs={**attrs, "rows": rows}) if rows else forms.TextInput(attrs=attrs)
        super().__init__(widget=widget, required=False, strip=False, **options)

    def validate(self, value: Any) -> None:
        """Accept an empty value, because a draft may be unfinished.

        `required` decides only whether the page marks the field as optional.
        """

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return ", ".join(value)
        return value if isinstance(value, str | None) else orjson.dumps(value).decode()


class Number(Value):
    """A number; other text stays text, because it may be a template."""

    def clean(self, value: Any) -> Any:
        text = super().clean(value).strip()
        try:
            return int(text)
        except ValueError:
            pass
        try:
            number = float(text)
        except ValueError:
            return text
        return number if number - number == 0 else text  # JSON has neither NaN nor infinity


class JsonValue(Value):
    """A JSON value where the text is JSON, else the text itself."""

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Return the value of the typed text, so that a form with errors does not show it quoted twice."""
        try:
            return as_read(data or "")
        except forms.ValidationError:
            return data

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return orjson.dumps(value).decode() if _is_json(value) else value
        return "" if value is None else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()

    def clean(self, value: Any) -> Any:
        return as_read(super().clean(value))


class Choice(forms.ChoiceField):
    """One of several values; a form that was sent without this field keeps what the connector declares."""

    def validate(self, value: Any) -> None:
        if value not in self.empty_values:
            super().validate(value)


class Choices(forms.MultipleChoiceField):
    def __init__(self, **options: Any) -> None:
        super().__init__(widget=forms.CheckboxSelectMultiple, required=False, **options)


class Lines(forms.CharField):
    """A list of texts without spaces, one on each line; commas separate them too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": 2, "class": "mono"}), required=False, **options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        return [part for part in re.split(r"[\s,]+", super().clean(value)) if part]


class RowsWidget(forms.Widget):
    """Rows of a name and a value, with `spare` empty ones at the end; its value is a list of (name, value)."""

    template_name = "automations/widgets/_rows.html"
    use_fieldset = True
    spare = 1

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> list[tuple[str, str]]:
        numbers = re.compile(rf"{re.escape(name)}-(\d{{1,4}})-name")
        rows = []
        for index in sorted(int(found[1]) for key in data if (found := numbers.fullmatch(key))):
            row = (str(data.get(f"{name}-{index}-name", "")).strip(), str(data.get(f"{name}-{index}-value", "")))
            if any(row):
                rows.append(row)
        return rows

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        context["widget"]["rows"] = [*(value or []), *[("", "")] * self.spare]
        context["widget"]["grow"] = name.partition("-")[2]  # the field's name without the form's prefix
        return context

    def id_for_label(self, id_: str | None, index: str | None = None) -> str:
        return ""  # the label is a fieldset's legend


class Pairs(forms.Field):
    """A list of {"name", "value"}, both text; a name may come twice, as in headers."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=RowsWidget, required=False, **options)

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return list(value.items())
        rows = value if isinstance(value, list) else []
        return [(row.get("name", ""), row.get("value", "")) if isinstance(row, dict) else row for row in rows]

    def clean(self, value: Any) -> Any:
        for row in value:
            for text in row:
                no_nul(text)
        return [{"name": name, "value": typed} for name, typed in value]


class NamedValues(Pairs):
    """An object: each row is a name, which comes once, and a JSON value."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return [(name, as_typed(inner)) for name, inner in value.items()]
        return super().prepare_value(value)

    def clean(self, value: Any) -> Any:
        names = [row["name"] for row in super().clean(value)]
        if len(set(names)) < len(names):
            raise forms.ValidationError("Each name can be used only once.")
        return {name: as_read(typed) for name, typed in value}


def as_typed(value: JSON) -> str:
    """Return a value as a person would type it: text without quotes, unless it would be read as something else.

    `as_read(as_typed(value))` is the value again.
    """
    if isinstance(value, str):
        return orjson.dumps(value).decode() if _is_json(value) else value
    return orjson.dumps(value).decode()


def as_read(text: str) -> JSON:
    """Return the value of JSON text, or other text as it is; raise ValidationError for null characters."""
    no_nul(text)
    if not _is_json(text):
        return text
    value: JSON = orjson.loads(text)
    if "\\u0000" in text:
        raise forms.ValidationError("Null characters are not allowed.")
    if measured(value)[1] > LEVELS:
        raise forms.ValidationError(f"JSON can have at most {LEVELS} levels of lists and objects.")
    return value


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True

"""The form of a step's input or a trigger's settings, made from the model that the connector declares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from django import forms
from django.forms.utils import ErrorList
from pydantic import BaseModel

from automations.builder.condition_fields import Conditions
from automations.builder.inputs import Choice, Choices, JsonValue, Lines, NamedValues, Number, Pairs, Value
from connectors.sdk.problems import Problem
from projects.form_words import name_errors

type Schema = dict[str, Any]  # the JSON Schema of a model, or of one of its properties
type Options = dict[str, Any]  # what every form field takes: label and help text


class ProblemField(forms.BoundField):
    """A field that shows the errors of its form, or, while there are none, what is wrong with the stored value."""

    @property
    def errors(self) -> ErrorList:
        found = super().errors
        problems = cast(InputForm, self.form).problems.get(self.name, [])
        return found or self.form.error_class(problems, renderer=self.form.renderer)


class InputForm(forms.Form):
    """The fields of a connector's model; `value` holds what was typed, which may be templates or unfinished.

    `problems` are what the model finds wrong with the stored value: shown beside the fields, they stop nobody from
    saving a draft.
    """

    bound_field_class = ProblemField
    use_required_attribute = False  # the browser would not let anybody save an unfinished draft

    def __init__(
        self, model: type[BaseModel], value: dict[str, Any], data: Any = None, *, problems: Iterable[Problem] = ()
    ) -> None:
        super().__init__(data, prefix="input")
        schema = model.model_json_schema()
        self.problems: dict[str, list[str]] = {}
        for problem in problems:
            self.problems.setdefault(problem.field, []).append(problem.message)
        self.advanced_names: set[str] = set()
        for name, declared in schema.get("properties", {}).items():
            self._add(name, _resolved(declared, schema), value)
            if name in schema.get("required", []):
                self.fields[name].required = True  # so the page does not call it optional; no field checks it

    def _add(self, name: str, schema: Schema, value: dict[str, Any]) -> None:
        self.fields[name] = field = make_field(schema)
        name_errors(field, schema.get("title", name))
        field.initial = value.get(name, schema.get("default"))
        if schema.get("advanced"):
            self.advanced_names.add(name)

    def grow(self, name: str) -> None:
        """Show one more empty row in a field that has rows, or an empty group in a field of conditions."""
        self.fields[name].widget.spare = 2

    @property
    def main(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in self.advanced_names]

    @property
    def advanced(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name in self.advanced_names]

    def non_field_errors(self) -> ErrorList:
        """Return the errors of the whole input, as typed; without any, the problems of the stored one."""
        return super().non_field_errors() or self.error_class(self.problems.get("", []), renderer=self.renderer)

    @property
    def advanced_has_errors(self) -> bool:
        return any(field.errors for field in self.advanced)

    @property
    def value(self) -> dict[str, Any]:
        """Return the typed values as a definition stores them; for an empty field the model's default holds."""
        return {name: value for name, value in self.cleaned_data.items() if value not in ("", None, [], {})}


def make_field(schema: Schema) -> forms.Field:
    """Return the field for one property of a model: the `widget` that it names, or else one line of text."""
    example = next(iter(schema.get("examples", [])), "")
    make = FIELDS.get(schema.get("widget", "text"), _text)
    options = {"label": schema.get("title"), "help_text": schema.get("description", "")}
    field = make(schema, example if isinstance(example, str) else "", options)
    field.units = schema.get("units", ())  # type: ignore[attr-defined]  # of a schedule, for which it is shown
    return field


def _text(schema: Schema, example: str, options: Options) -> forms.Field:
    return Value(example=example, **options)


def _select(schema: Schema, example: str, options: Options) -> forms.Field:
    labels = schema.get("labels", {})
    choices = [(choice, labels.get(choice) or _choice_label(str(choice))) for choice in schema.get("enum", [])]
    return Choice(choices=choices, **options)


def _checkboxes(schema: Schema, example: str, options: Options) -> forms.Field:
    labels = schema.get("labels", {})
    return Choices(choices=[(choice, labels.get(choice, choice)) for choice in schema["items"]["enum"]], **options)


def _switch(schema: Schema, example: str, options: Options) -> forms.Field:
    return forms.BooleanField(required=False, widget=forms.CheckboxInput(attrs={"role": "switch"}), **options)


FIELDS: dict[str, Callable[[Schema, str, Options], forms.Field]] = {
    "text": _text,
    "select": _select,
    "switch": _switch,
    "checkboxes": _checkboxes,
    "number": lambda schema, example, options: Number(example=example, **options),
    "json": lambda schema, example, options: JsonValue(rows=6, is_code=True, example=example, **options),
    "textarea": lambda schema, example, options: Value(rows=4, example=example, **options),
    "template": lambda schema, example, options: Value(rows=4, example=example, **options),
    "pairs": lambda schema, example, options: Pairs(**options),
    "fields": lambda schema, example, options: NamedValues(**options),
    "list": lambda schema, example, options: Lines(**options),
    "conditions": lambda schema, example, options: Conditions(label=options["label"]),
}


def _choice_label(choice: str) -> str:
    return choice if choice.isupper() else {"json": "JSON"}.get(choice, choice.capitalize())


def _resolved(declared: Schema, schema: Schema) -> Schema:
    """Return a property with the definition that it refers to merged in: pydantic puts nested models apart."""
    if "$ref" in declared:
        return {**schema["$defs"][declared["$ref"].rsplit("/", 1)[-1]], **declared}
    return declared

"""Forms of the automation pages. Those of a step's input and a trigger's settings are made from the connector."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.forms.utils import ErrorList
from django.urls import reverse
from django.utils.html import format_html
from pydantic import BaseModel

from automations.builder.condition_fields import Conditions
from automations.builder.inputs import Choice, Choices, JsonValue, Lines, NamedValues, Number, Pairs, Value
from automations.definition import ActionStep
from automations.models import Automation
from connectors.sdk.problems import Problem
from projects.forms import one_line, rule
from projects.ids import new_id

if TYPE_CHECKING:
    AutomationModelForm = forms.ModelForm[Automation]
else:
    AutomationModelForm = forms.ModelForm

type Schema = dict[str, Any]
type Options = dict[str, Any]


class ProblemField(forms.BoundField):
    """A field that shows, beside errors of its form, what is wrong with the value that is stored."""

    @property
    def errors(self) -> ErrorList:
        found = super().errors
        problems = cast(InputForm, self.form).problems.get(self.name, [])
        return found or self.form.error_class(problems, renderer=self.form.renderer)


class InputForm(forms.Form):
    """The fields of a connector's model. What it gives back may hold templates, so only its shape is certain."""

    bound_field_class = ProblemField
    use_required_attribute = False

    def __init__(
        self, model: type[BaseModel], value: dict[str, Any], data: Any = None, *, problems: Iterable[Problem] = ()
    ) -> None:
        super().__init__(data, prefix="input")
        schema = model.model_json_schema()
        self.problems: dict[str, list[str]] = {}
        for problem in problems:
            self.problems.setdefault(problem.field, []).append(problem.message)
        self.advanced_names: set[str] = set()
        for name, found in schema.get("properties", {}).items():
            self._add(name, _resolved(found, schema), value)
            if name in schema.get("required", []):
                self.fields[name].required = True  # as the page says; a draft may be unfinished

    def _add(self, name: str, schema: Schema, value: dict[str, Any]) -> None:
        self.fields[name] = field = make_field(schema)
        field.initial = value.get(name, schema.get("default"))
        if schema.get("advanced"):
            self.advanced_names.add(name)

    def grow(self, name: str) -> None:
        """Show one more empty row or group in a field."""
        self.fields[name].widget.spare = 2

    @property
    def main(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in self.advanced_names]

    @property
    def advanced(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name in self.advanced_names]

    def non_field_errors(self) -> ErrorList:
        """Return what is wrong with the input as a whole, as typed or as stored."""
        return super().non_field_errors() or self.error_class(self.problems.get("", []), renderer=self.renderer)

    @property
    def advanced_has_errors(self) -> bool:
        return any(field.errors for field in self.advanced)

    @property
    def value(self) -> dict[str, Any]:
        """Return what was typed, without what was left empty."""
        return {name: value for name, value in self.cleaned_data.items() if value not in ("", None, [], {})}


def make_field(schema: Schema) -> forms.Field:
    """Return the field for one property of a model, by its `widget` hint."""
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


def _resolved(found: Schema, schema: Schema) -> Schema:
    """Return a property with what it refers to merged in."""
    if "$ref" in found:
        return {**schema["$defs"][found["$ref"].rsplit("/", 1)[-1]], **found}
    return found


class NewAutomationForm(AutomationModelForm):
    # The page proposes the identifier, so that a form sent twice makes one automation.
    uid = forms.UUIDField(widget=forms.HiddenInput, initial=new_id)
    name = forms.CharField(max_length=100, validators=[one_line], error_messages={"required": "Name is empty."})
    description = forms.CharField(max_length=255, required=False, validators=[one_line])

    class Meta:
        model = Automation
        fields = ["name", "description"]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        others = Automation.objects.kept().filter(project=self.instance.project, name=name)
        if others.exclude(pk__in=[self.instance.pk, self.data.get("uid")]).exists():
            raise forms.ValidationError(f"“{name}” is already used in this project.")
        return name


class SettingsForm(NewAutomationForm):
    uid = None  # type: ignore[assignment]

    class Meta:
        model = Automation
        fields = ["name", "description", "time_limit_s", "is_throttled"]
        labels = {"time_limit_s": "Allotted time in seconds", "is_throttled": "Throttle"}
        error_messages = {"time_limit_s": dict.fromkeys(("required", "invalid"), "Write a whole number of seconds.")}
        help_texts = {
            "time_limit_s": "The longest time an execution may spend in Running. After that it is Rejected.",
        }
        widgets = {"is_throttled": forms.CheckboxInput(attrs={"role": "switch"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["is_throttled"].help_text = _throttle_help(self.instance)

    def clean_time_limit_s(self) -> int:
        seconds: int = self.cleaned_data["time_limit_s"]
        most = self.instance.organization.time_limit_s
        if not 1 <= seconds <= most:
            raise forms.ValidationError(f"The allotted time must be from 1 to {most} seconds.")
        return seconds


def _throttle_help(automation: Automation) -> str:
    """Return what the switch does here: the rate is the organization's, and a caller who waits is never throttled."""
    if automation.definition.replies:
        return "This automation is never throttled, because its Response step makes the caller wait."
    organization = automation.organization
    return format_html(
        "Executions start in order, at a rate that all throttled automations of {} share: {} per second,"
        ' <a href="{}#throttle" hx-boost="false">set by the organization</a>. If off, executions start directly.',
        organization.name,
        f"{organization.throttle_rate:g}",
        reverse("projects:organization", args=[organization.pk]),
    )


class StepForm(forms.Form):
    """What every step has, whatever it does."""

    title = forms.CharField(max_length=200, required=False, validators=[one_line], label="Name")
    key = forms.CharField(
        max_length=64,
        label="Reference",
        error_messages={"required": "Reference is empty."},
        help_text="Later steps read the output under this name. They are updated when the name changes.",
    )
    note = forms.CharField(max_length=2000, required=False, widget=forms.Textarea(attrs={"rows": 2}))
    on_error = forms.ChoiceField(
        choices=[("stop", "Stop the execution as Failed"), ("skip", "Skip the step and continue")],
        label="If it fails",
    )
    retry_times = forms.IntegerField(
        min_value=0, max_value=10, label="Automatic tries after a failure", error_messages=rule("a whole number", 0, 10)
    )
    retry_backoff_s = forms.FloatField(
        min_value=0,
        max_value=3600,
        label="Seconds before the next try",
        error_messages=rule("a number", 0, 3600),
        help_text="The time doubles with each try.",
    )
    time_limit_s = forms.FloatField(
        min_value=0.1,
        max_value=3600,
        required=False,
        label="Time limit in seconds",
        error_messages=rule("a number", 0.1, 3600),
        help_text="Leave empty for no limit.",
    )
    if_interrupted = forms.ChoiceField(
        choices=[
            ("", "Use the default of the action"),
            ("repeat", "Repeat the step (runs at least once)"),
            ("never_repeat", "Fail the step (runs at most once)"),
        ],
        required=False,
        label="If a worker dies during the step",
    )

    def __init__(self, step: ActionStep, data: Any = None) -> None:
        super().__init__(data, prefix="step", initial=_of_step(step))

    @property
    def policy(self) -> list[forms.BoundField]:
        names = ("on_error", "retry_times", "retry_backoff_s", "time_limit_s", "if_interrupted", "key")
        return [self[name] for name in names]

    def apply(self, step: ActionStep) -> None:
        """Write all but the key, which other steps refer to, into a step."""
        given = self.cleaned_data
        step.title, step.note, step.on_error = given["title"], given["note"], given["on_error"]
        step.retry.times, step.retry.backoff_s = given["retry_times"], given["retry_backoff_s"]
        step.time_limit_s, step.if_interrupted = given["time_limit_s"], given["if_interrupted"] or None


def _of_step(step: ActionStep) -> dict[str, Any]:
    return {
        **step.model_dump(include={"title", "key", "note", "on_error", "time_limit_s", "if_interrupted"}),
        "retry_times": step.retry.times,
        "retry_backoff_s": step.retry.backoff_s,
    }


class TriggerConditionsForm(forms.Form):
    conditions = Conditions(
        label="Only start if", help_text="Without conditions, every request or fire time starts an execution."
    )

    def __init__(self, value: dict[str, Any], data: Any = None) -> None:
        super().__init__(data, prefix="start", initial={"conditions": value})

    def grow(self) -> None:
        self.fields["conditions"].widget.spare = 2

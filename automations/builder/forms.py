"""Forms of the builder that every automation, step and trigger has; input_form.py makes those of connectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.urls import reverse
from django.utils.html import format_html

from automations.builder.condition_fields import Conditions
from automations.definition import ActionStep
from automations.models import Automation
from projects.form_words import NamedErrors
from projects.forms import one_line, rule
from projects.ids import new_id

if TYPE_CHECKING:  # only mypy's ModelForm takes its model in brackets
    AutomationModelForm = forms.ModelForm[Automation]
else:
    AutomationModelForm = forms.ModelForm


class NewAutomationForm(NamedErrors, AutomationModelForm):
    # The page proposes the identifier, so that a form sent twice makes one automation.
    uid = forms.UUIDField(widget=forms.HiddenInput, initial=new_id)
    name = forms.CharField(max_length=100, validators=[one_line])
    description = forms.CharField(max_length=255, required=False, validators=[one_line])

    class Meta:
        model = Automation
        fields = ["name", "description"]

    def clean_name(self) -> str:
        """Refuse another automation's name, unless this form made that automation when it was sent before."""
        # Django does not check the model's own constraint here, because the project is no field of the form.
        name: str = self.cleaned_data["name"]
        others = Automation.objects.kept().filter(project=self.instance.project, name=name)
        if others.exclude(pk__in=[self.instance.pk, self.data.get("uid")]).exists():
            raise forms.ValidationError(f"“{name}” is already used in this project.")
        return name


class SettingsForm(NewAutomationForm):
    """Name, description and settings of an automation that exists."""

    uid = None  # type: ignore[assignment]  # Django's way to leave out a field of the parent

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
        """Refuse a time above the organization's longest allotted time."""
        seconds: int = self.cleaned_data["time_limit_s"]
        most = self.instance.organization.time_limit_s
        if not 1 <= seconds <= most:
            raise forms.ValidationError(f"The allotted time must be from 1 to {most} seconds.")
        return seconds


def _throttle_help(automation: Automation) -> str:
    """Return what the switch does for this automation: a Response step overrides it, the organization sets the rate."""
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


class StepForm(NamedErrors, forms.Form):
    """The settings that every step has, whatever it does: names, note and rules for errors."""

    title = forms.CharField(max_length=200, required=False, validators=[one_line], label="Name")
    key = forms.CharField(
        max_length=64,
        label="Reference",
        help_text="Later steps read the output under this name. They are updated when the name changes.",
    )
    note = forms.CharField(max_length=2000, required=False, widget=forms.Textarea(attrs={"rows": 2}))
    on_error = forms.ChoiceField(
        choices=[("stop", "Stop the execution as Failed"), ("skip", "Skip the step and continue")],
        label="If it fails",
    )
    # The same bounds as in `definition.RetryPolicy` and `definition.ActionStep`, which refuse without a form.
    retry_times = forms.IntegerField(
        min_value=0, max_value=10, label="Automatic tries after a failure", error_messages=rule("a whole number", 0, 10)
    )
    retry_backoff_s = forms.FloatField(
        min_value=0,
        max_value=3600,
        label="Seconds before the next try",
        error_messages=rule("a number", 0, 3600),
        help_text="The longest wait before the second try. It doubles with each further try, up to one hour. Each wait "
        "is cut by up to half at random, so that many executions do not try again at the same moment.",
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
        super().__init__(data, prefix="step", initial=_initial_of(step))

    @property
    def policy(self) -> list[forms.BoundField]:
        """Return the fields that the page keeps folded up."""
        names = ("on_error", "retry_times", "retry_backoff_s", "time_limit_s", "if_interrupted", "key")
        return [self[name] for name in names]

    def apply(self, step: ActionStep) -> None:
        """Write everything but the key into a step: a new key must also be put into the steps that read it."""
        given = self.cleaned_data
        step.title, step.note, step.on_error = given["title"], given["note"], given["on_error"]
        step.retry.times, step.retry.backoff_s = given["retry_times"], given["retry_backoff_s"]
        step.time_limit_s, step.if_interrupted = given["time_limit_s"], given["if_interrupted"] or None


def _initial_of(step: ActionStep) -> dict[str, Any]:
    return {
        **step.model_dump(include={"title", "key", "note", "on_error", "time_limit_s", "if_interrupted"}),
        "retry_times": step.retry.times,
        "retry_backoff_s": step.retry.backoff_s,
    }


class TriggerConditionsForm(forms.Form):
    """The conditions under which a trigger starts an execution."""

    conditions = Conditions(
        label="Only start if", help_text="Without conditions, every request or fire time starts an execution."
    )

    def __init__(self, value: dict[str, Any], data: Any = None) -> None:
        super().__init__(data, prefix="start", initial={"conditions": value})

    def grow(self) -> None:
        """Show one more empty group."""
        self.fields["conditions"].widget.spare = 2

"""Forms of the project pages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.core.validators import RegexValidator
from django.utils import timezone

from projects.form_words import NamedErrors, name_errors
from projects.ids import new_id
from projects.models import ApiToken, Asker, Organization, Project, Variable

if TYPE_CHECKING:  # only mypy's ModelForm takes its model in brackets
    OrganizationModelForm = forms.ModelForm[Organization]
    ProjectModelForm = forms.ModelForm[Project]
    VariableModelForm = forms.ModelForm[Variable]
    TokenModelForm = forms.ModelForm[ApiToken]
else:
    OrganizationModelForm = ProjectModelForm = VariableModelForm = TokenModelForm = forms.ModelForm

# Names stand in the subjects of e-mails and in lines of the log; no database stores half of a surrogate pair.
one_line = RegexValidator(r"\A[^\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]*\Z", "Use one line of printable characters.")


def rule(kind: str, least: float, most: float, end: str = "") -> dict[str, str]:
    """Return the messages of a field for a number, whose one rule is told wherever it is broken."""
    words = f"Write {kind} from {least:g} to {most:,}{end}."
    return dict.fromkeys(("invalid", "min_value", "max_value", "required"), words)


class ProjectForm(NamedErrors, ProjectModelForm):
    # The page proposes the identifier, so that a form sent twice makes one project.
    uid = forms.UUIDField(widget=forms.HiddenInput, initial=new_id)
    name = forms.CharField(max_length=100, validators=[one_line])
    description = forms.CharField(max_length=255, required=False, validators=[one_line])

    class Meta:
        model = Project
        fields = ["organization", "name", "description"]

    def __init__(self, *args: Any, user: Asker, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Made for each request: it accepts only organizations in which this person may create projects.
        owned = Organization.objects.managed_by(user)
        choice = forms.ModelChoiceField(owned, empty_label=None, initial=owned.first())
        if len(owned) == 1:
            choice.widget = choice.hidden_widget()
        name_errors(choice, "Organization")
        self.fields["organization"] = choice


class OnceTyped(forms.Textarea):
    """A text area that shows its value again only while `is_shown`: a secret typed into a form with errors is not."""

    is_shown = True

    def format_value(self, value: Any) -> str | None:
        return super().format_value(value) if self.is_shown else None


class VariableForm(NamedErrors, VariableModelForm):
    """A variable's form. A secret value never goes back to the browser, so an empty field keeps the stored one."""

    value = forms.CharField(
        max_length=10_000, strip=False, required=False, widget=OnceTyped(attrs={"rows": 2, "autocomplete": "off"})
    )

    class Meta:
        model = Variable
        fields = ["key", "is_secret"]
        labels = {"is_secret": "Secret"}
        help_texts = {
            "key": "Only letters, digits and _. Steps read the value as {{ vars.KEY }}.",
            "is_secret": "A secret value is never shown again after saving. Logs mask it, and what steps compute with "
            "it; a value of fewer than 4 characters cannot be masked.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance.pk:
            return
        # A secret never becomes readable again, and live versions may read the variable by its key.
        self.fields["key"].disabled = True
        self.fields["is_secret"].disabled = self.instance.is_secret
        if self.instance.is_secret:
            self.fields["value"].help_text = "Write a new value to replace the stored one. Leave empty to keep it."
        else:
            self.fields["value"].initial = self.instance.readable

    def clean_key(self) -> str:
        # Django does not check the model's own constraint here, because the project is no field of the form.
        key: str = self.cleaned_data["key"]
        others = Variable.objects.filter(project=self.instance.project, key=key).exclude(pk=self.instance.pk)
        if others.exists():
            raise forms.ValidationError(f"“{key}” is already used in this project.")
        return key

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        widget = self.fields["value"].widget
        widget.is_shown = not cleaned.get("is_secret")
        if cleaned.get("is_secret") and not cleaned.get("value") and not self.keeps_value:
            self.add_error("value", "Value is empty.")
        return cleaned

    @property
    def keeps_value(self) -> bool:
        """Return whether an empty field means the stored value."""
        return bool(self.instance.pk and self.instance.is_secret)

    def save(self, commit: bool = True) -> Variable:
        value = self.cleaned_data["value"]
        if value or not self.keeps_value:
            self.instance.value = value
        saved: Variable = super().save(commit)
        return saved


USUAL_DAYS = "90"  # after which a token expires, if its maker chooses nothing else


class TokenForm(NamedErrors, TokenModelForm):
    name = forms.CharField(
        max_length=100,
        validators=[one_line],
        help_text="The program that will use the token. The name helps you revoke the right one.",
    )
    expires = forms.ChoiceField(
        label="Expires",
        choices=[("30", "in 30 days"), ("90", "in 90 days"), ("365", "in a year"), ("0", "never")],
        initial=USUAL_DAYS,
        required=False,
    )

    class Meta:
        model = ApiToken
        fields = ["name"]

    @property
    def expires_at(self) -> datetime | None:
        days = int(self.cleaned_data["expires"] or USUAL_DAYS)
        return timezone.now() + timedelta(days=days) if days else None


def number_field(what: str, least: int, most: int, label: str, help_text: str, **options: Any) -> forms.IntegerField:
    """Return a field for a whole number from `least` to `most`; one sentence with the whole rule serves every error."""
    end = "" if options.get("required", True) else ", or leave the field empty"
    words = rule(f"a whole number of {what}", least, most, end)
    return forms.IntegerField(
        min_value=least, max_value=most, label=label, help_text=help_text, error_messages=words, **options
    )


class OrganizationForm(NamedErrors, OrganizationModelForm):
    """The settings that owners and admins change (`is_open`); other members see them greyed out."""

    throttle_rate = forms.FloatField(label="Throttle frequency, in starts per second")
    duplicates_h = number_field(
        "hours",
        1,
        168,
        "Duplicate window, in hours",
        "A request with the same delivery id as an earlier one starts nothing within this time. Its answer names the "
        "execution of the earlier request.",
    )
    keep_days = number_field(
        "days",
        1,
        3650,
        "Days to keep executions",
        "Leave empty to keep executions forever. Usage counts always stay.",
        required=False,
    )
    keep_count = number_field(
        "executions",
        1,
        1_000_000_000,
        "Keep at most this many executions",
        "Beyond this number the oldest executions are removed. Leave empty for no maximum.",
        required=False,
    )
    keep_payloads_days = number_field(
        "days",
        1,
        3650,
        "Days to keep payloads",
        "After that, inputs and outputs are removed; status, steps and times stay. Leave empty to keep payloads as "
        "long as the execution.",
        required=False,
    )

    class Meta:
        model = Organization
        fields = ["throttle_rate", "duplicates_h", "keep_days", "keep_count", "keep_payloads_days"]

    def __init__(self, *args: Any, is_open: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.most = self.instance.throttle_rate_limit  # staff's limit for this organization
        rate = cast(forms.FloatField, self.fields["throttle_rate"])
        rate.error_messages |= dict.fromkeys(("invalid", "required"), self.rate_rule)
        rate.help_text = f"{self.rate_rule} All automations with Throttle on share this rate."
        rate.widget.attrs |= {"min": "0.1", "max": f"{self.most:g}", "step": "any", "inputmode": "decimal"}
        if self.instance.throttle_rate.is_integer():
            self.initial["throttle_rate"] = int(self.instance.throttle_rate)  # "2", not "2.0"
        for field in self.fields.values():
            field.disabled = not is_open

    @property
    def rate_rule(self) -> str:
        return f"Write a number from 0.1 to {self.most:g}."

    def clean_throttle_rate(self) -> float:
        rate: float = self.cleaned_data["throttle_rate"]
        if not 0.1 <= rate <= self.most:
            raise forms.ValidationError(self.rate_rule)
        return rate

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        rows, payloads = cleaned.get("keep_days"), cleaned.get("keep_payloads_days")
        if rows and payloads and payloads > rows:
            self.add_error(
                "keep_payloads_days", f"Payloads cannot be kept longer than their executions: at most {rows} days."
            )
        return cleaned

    def save(self, commit: bool = True) -> Organization:
        """Write only the columns that were changed here: staff may be changing another one at this moment."""
        self.instance.save(update_fields=self.changed_data)
        return self.instance

"""Forms of the project pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.validators import RegexValidator

from projects.ids import new_id
from projects.models import ApiToken, Asker, Organization, Project, Variable

if TYPE_CHECKING:
    ProjectModelForm = forms.ModelForm[Project]
    VariableModelForm = forms.ModelForm[Variable]
    TokenModelForm = forms.ModelForm[ApiToken]
else:
    ProjectModelForm = VariableModelForm = TokenModelForm = forms.ModelForm

one_line = RegexValidator(r"\A[^\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]*\Z", "Use one line of printable characters.")


class ProjectForm(ProjectModelForm):
    # The page proposes the identifier, so that a form sent twice makes one project.
    uid = forms.UUIDField(widget=forms.HiddenInput, initial=new_id)
    name = forms.CharField(max_length=100, validators=[one_line])
    description = forms.CharField(max_length=255, required=False, validators=[one_line])

    class Meta:
        model = Project
        fields = ["organization", "name", "description"]

    def __init__(self, *args: Any, user: Asker, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        owned = Organization.objects.managed_by(user)
        choice = forms.ModelChoiceField(owned, empty_label=None, initial=owned.first())
        if len(owned) == 1:
            choice.widget = choice.hidden_widget()
        self.fields["organization"] = choice


class OnceTyped(forms.Textarea):
    """A text area that can be told not to show what it holds again."""

    is_shown = True

    def format_value(self, value: Any) -> str | None:
        return super().format_value(value) if self.is_shown else None


class VariableForm(VariableModelForm):
    """A variable's form; the value of a secret one never comes back, and left empty it stays."""

    value = forms.CharField(
        max_length=10_000, strip=False, required=False, widget=OnceTyped(attrs={"rows": 2, "autocomplete": "off"})
    )

    class Meta:
        model = Variable
        fields = ["key", "is_secret"]
        labels = {"is_secret": "Secret"}
        help_texts = {
            "key": "Letters, digits and _; steps use it as {{ vars.KEY }}.",
            "is_secret": "Never shown again after saving, and masked in every log.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance.pk:
            return
        # A secret never becomes readable again; its key may be in use by live versions.
        self.fields["key"].disabled = True
        self.fields["is_secret"].disabled = self.instance.is_secret
        if self.instance.is_secret:
            self.fields["value"].help_text = "Write a new value to replace the stored one; empty keeps it."
        else:
            self.fields["value"].initial = self.instance.readable

    def clean_key(self) -> str:
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
            self.add_error("value", "Write the secret.")
        return cleaned

    @property
    def keeps_value(self) -> bool:
        return bool(self.instance.pk and self.instance.is_secret)

    def save(self, commit: bool = True) -> Variable:
        value = self.cleaned_data["value"]
        if value or not self.keeps_value:
            self.instance.value = value
        saved: Variable = super().save(commit)
        return saved


class TokenForm(TokenModelForm):
    name = forms.CharField(
        max_length=100, validators=[one_line], help_text="What will use it, so that you know what to revoke."
    )

    class Meta:
        model = ApiToken
        fields = ["name"]

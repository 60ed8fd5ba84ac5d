"""Errors of form fields in the product's words: each names the field and the rule, which Django's sentences do not."""

from __future__ import annotations

from typing import Any

from django import forms
from django.forms.utils import pretty_name

WORDS = {
    "required": "{label} is empty.",
    "invalid_choice": "{label} must be one of the choices, not “%(value)s”.",
    "max_length": "{label} can have at most %(limit_value)s characters; this text has %(show_value)s.",
}
DJANGOS = {  # the sentences to replace: a field may have one of its own
    "required": forms.Field.default_error_messages["required"],
    "invalid_choice": forms.ChoiceField.default_error_messages["invalid_choice"],
    "max_length": None,
}
NO_CHOICE = forms.ModelChoiceField.default_error_messages["invalid_choice"]


def name_errors(field: forms.Field, label: str) -> None:
    """Give a field our sentences for each error that it has no sentence of its own for."""
    for code, words in WORDS.items():
        if field.error_messages.get(code) in (DJANGOS[code], NO_CHOICE):
            field.error_messages[code] = words.format(label=label.replace("%", "%%"))


class NamedErrors(forms.BaseForm):
    """A form whose errors name their field: put it before Django's class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            name_errors(field, str(field.label or pretty_name(name)))

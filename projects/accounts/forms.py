"""The forms for signing in and for passwords."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm

from projects.accounts import hashing
from projects.accounts.guessing import Guess, address_of, in_words
from projects.form_words import NamedErrors
from projects.models.tries import Claim, Tries

BUSY = "AgentOS is checking many passwords right now. Try again in a few seconds."


class TooMany(forms.ValidationError):
    """Somebody has used up their tries."""

    def __init__(self, what: str, wait: timedelta) -> None:
        super().__init__(f"Too many {what}. Try again in {in_words(wait)}.", code="too_many")


class Paced(NamedErrors):
    """A form with a password to check: `retry_after_s` says when to try again, if it could not be checked now."""

    retry_after_s: int | None = None
    status = 200  # of the answer with the form's errors

    def too_many(self, what: str, wait: timedelta) -> TooMany:
        self.status, self.retry_after_s = 429, max(1, round(wait.total_seconds()))
        return TooMany(what, wait)

    def busy(self) -> forms.ValidationError:
        self.status, self.retry_after_s = 503, hashing.RETRY_AFTER_S
        return forms.ValidationError(BUSY, code="busy")


class SignInForm(Paced, AuthenticationForm):
    """Django's form, with one sentence for a wrong name and a wrong password: which it was stays secret."""

    error_messages = AuthenticationForm.error_messages | {
        "invalid_login": "The username or the password is wrong. Both distinguish capital and small letters."
    }

    def clean(self) -> dict[str, Any]:
        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if not name or not password:
            return self.cleaned_data
        assert self.request is not None
        claims = Guess(self.request, name).claims()
        if wait := Tries.objects.wait(*claims):  # a look first: whoever is refused writes nothing
            raise self.too_many("wrong sign-ins", wait)
        try:
            with hashing.line.turn(address_of(self.request)):
                return self._checked(claims)
        except hashing.Busy:
            raise self.busy() from None

    def _checked(self, claims: list[Claim]) -> dict[str, Any]:
        """Check the password. A try is taken before and given back after success: many at once cannot slip through."""
        if wait := Tries.objects.take(*claims):
            raise self.too_many("wrong sign-ins", wait)
        cleaned = super().clean()
        Tries.objects.give_back(*claims)
        return dict(cleaned or self.cleaned_data)

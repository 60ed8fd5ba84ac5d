"""The forms for signing in and for passwords."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, SetPasswordForm
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.db import transaction

from projects.accounts import hashing
from projects.accounts.guessing import Guess, address_of, in_words
from projects.form_words import NamedErrors
from projects.models import ApiToken
from projects.models.tries import Claim, Rule, Tries

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
        guess = Guess(self.request, name)
        claims = guess.claims()
        if wait := Tries.objects.wait(*claims):  # a look first: whoever is refused writes nothing
            raise self.too_many("wrong sign-ins", wait)
        try:
            with self._turn(guess):
                return self._checked(claims)
        except hashing.Busy:
            raise self.busy() from None

    def _turn(self, guess: Guess) -> AbstractContextManager[None]:
        if guess.device:
            return hashing.line.turn(guess.who, hashing.KNOWN)
        return hashing.line.turn(address_of(guess.request))

    def _checked(self, claims: list[Claim]) -> dict[str, Any]:
        """Check the password. A try is taken before and given back after success: many at once cannot slip through."""
        if wait := Tries.objects.take(*claims):
            raise self.too_many("wrong sign-ins", wait)
        cleaned = super().clean()
        Tries.objects.give_back(*claims)
        return dict(cleaned or self.cleaned_data)


PASSWORD_RULE = "At least 8 characters, not only digits, no common password, and unlike your name and e-mail address."
RULES = {  # by the code of Django's validators, whose own sentences do not name the field
    "password_too_short": "New password has too few characters: it needs at least 8.",
    "password_too_similar": "New password is too much like your name or e-mail address.",
    "password_too_common": "New password is one of the most common ones, which are tried first.",
    "password_entirely_numeric": "New password has digits only: add letters or other characters.",
}
OLD_PASSWORD = Rule("password change", 5, timedelta(minutes=5))


class NewPassword(Paced):
    """A form that sets a password: put it before Django's. It may revoke API tokens, which a new password leaves."""

    user: User

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        first, second = self.fields["new_password1"], self.fields["new_password2"]
        first.label, second.label = "New password", "New password again"
        first.help_text, second.help_text = PASSWORD_RULE, ""
        first.error_messages["required"] = "New password is empty."
        second.error_messages["required"] = "New password again is empty."
        owner = getattr(self.user, "pk", None)  # nobody behind a made-up link, whose page shows no form
        if tokens := list(ApiToken.objects.usable().filter(user=owner).order_by("-created_at")):
            self.fields["revoked"] = RevokedTokens(tokens)

    def validate_passwords(self, first: str = "new_password1", second: str = "new_password2") -> None:
        given = [self.cleaned_data.get(name) for name in (first, second)]
        if all(given) and given[0] != given[1]:
            self.add_error(second, forms.ValidationError("The two new passwords differ.", code="password_mismatch"))

    def validate_password_for_user(self, user: User, field: str = "new_password2") -> None:
        password = self.cleaned_data.get("new_password1")
        if not password:
            return
        try:
            validate_password(password, user)
        except forms.ValidationError as broken:
            for error in broken.error_list:
                words = RULES.get(error.code or "") or " ".join(error.messages)
                self.add_error("new_password1", forms.ValidationError(words, code=error.code))

    def clean(self) -> dict[str, Any]:
        """Check everything, and hash the new password, in one turn for both hashes."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                with hashing.line.turn(self.user.get_username(), hashing.KNOWN):
                    self.user.set_password(cleaned["new_password1"])
            except hashing.Busy:
                raise self.busy() from None
        return cleaned

    def save(self, commit: bool = True) -> User:
        """Store the new password and revoke the chosen tokens, or neither."""
        with transaction.atomic():
            self.user.save(update_fields=["password"])
            for token in self.cleaned_data.get("revoked", []):
                token.revoke()
        return self.user


class RevokedTokens(forms.TypedMultipleChoiceField):
    """A box for each of the API tokens; the page draws them from `tokens`."""

    def __init__(self, tokens: list[ApiToken]) -> None:
        self.tokens = {str(token.pk): token for token in tokens}
        super().__init__(
            label="Revoke API tokens, too",
            choices=[(key, _described(token)) for key, token in self.tokens.items()],
            coerce=self.tokens.__getitem__,
            required=False,
            widget=forms.CheckboxSelectMultiple,
            error_messages={
                "invalid_choice": "Revoke API tokens, too: one of them is not yours or is revoked already."
            },
        )


def _described(token: ApiToken) -> str:
    used = f"last used {token.last_used_at:%-d %b %Y}" if token.last_used_at else "never used"
    return f"{token}, created {token.created_at:%-d %b %Y}, {used}"


class OwnPasswordForm(NewPassword, PasswordChangeForm):
    """Changes the password of somebody who knows the present one."""

    field_order = ["old_password", "new_password1", "new_password2", "revoked"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["old_password"].label = "Present password"
        self.fields["old_password"].error_messages["required"] = "Present password is empty."

    def clean_old_password(self) -> str:
        """Check the present password; guessing it with somebody's session is limited, too."""
        claim = OLD_PASSWORD.of(str(self.user.pk))
        if wait := Tries.objects.wait(claim):
            raise self.too_many("wrong passwords", wait)
        given: str = self.cleaned_data["old_password"]
        try:
            with hashing.line.turn(self.user.get_username(), hashing.KNOWN):
                if wait := Tries.objects.take(claim):
                    raise self.too_many("wrong passwords", wait)
                is_right = self.user.check_password(given)
        except hashing.Busy:
            raise self.busy() from None
        if not is_right:
            raise forms.ValidationError("Present password is wrong.", code="password_incorrect")
        Tries.objects.give_back(claim)
        return given


class ForgottenPasswordForm(NewPassword, SetPasswordForm):  # type: ignore[type-arg]
    """Sets the password of somebody who came by the link of an e-mail."""

    field_order = ["new_password1", "new_password2", "revoked"]


class AskForm(Paced, forms.Form):
    """Asks for the link of an e-mail."""

    email = forms.EmailField(
        label="E-mail address",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email", "autofocus": True}),
        error_messages={"invalid": "E-mail address must be one, such as ada@example.com."},
    )

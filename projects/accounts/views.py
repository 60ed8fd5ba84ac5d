"""The pages for signing in and for passwords."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import views as auth
from django.http import HttpResponse

from projects.accounts.forms import Paced, SignInForm
from projects.accounts.guessing import Guess


def answer_errors(response: HttpResponse, form: Paced) -> HttpResponse:
    """Give a page with a form's errors the status that says why, and when to try again."""
    response.status_code = form.status
    if form.retry_after_s is not None:
        response["Retry-After"] = str(form.retry_after_s)
    return response


class SignIn(auth.LoginView):
    form_class = SignInForm

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        Guess(self.request, form.get_user().get_username()).remember(response)
        return response

    def form_invalid(self, form: Any) -> HttpResponse:
        return answer_errors(super().form_invalid(form), form)

"""The pages for signing in and for passwords."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth import views as auth
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from projects.accounts import reset
from projects.accounts.forms import AskForm, ForgottenPasswordForm, OwnPasswordForm, Paced, SignInForm
from projects.accounts.guessing import Guess, address_of
from projects.accounts.sessions import forget_old_sessions
from projects.models.tries import Tries

page_with_form = require_http_methods(["GET", "HEAD", "POST"])


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
        forget_old_sessions()
        return response

    def form_invalid(self, form: Any) -> HttpResponse:
        return answer_errors(super().form_invalid(form), form)


@login_required
@sensitive_post_parameters()
@page_with_form
def password(request: HttpRequest) -> HttpResponse:
    """Change one's own password. Sessions elsewhere end; this one goes on."""
    form = OwnPasswordForm(request.user, request.POST or None)
    if form.is_valid():
        update_session_auth_hash(request, form.save())
        messages.success(request, f"Password changed. You are signed out everywhere else.{_revoked(form)}")
        return redirect("projects:settings")
    return _form_page(request, "projects/password.html", form)


def _revoked(form: Paced) -> str:
    count = len(form.cleaned_data.get("revoked", []))
    return f" {count} API token{'s are' if count > 1 else ' is'} revoked." if count else ""


def _form_page(request: HttpRequest, template: str, form: Paced) -> HttpResponse:
    response = render(request, template, {"form": form}, status=422 if form.is_bound else 200)
    return answer_errors(response, form) if form.retry_after_s is not None else response


@page_with_form
def forgotten(request: HttpRequest) -> HttpResponse:
    """Ask for the link that sets a new password. The answer tells nobody whether the address is known."""
    form = AskForm(request.POST or None)
    if form.is_valid():
        if wait := Tries.objects.take(reset.ASKED.of(address_of(request))):
            form.add_error(None, form.too_many("e-mails", wait))
        else:
            reset.post.send(form.cleaned_data["email"])
            return redirect("projects:forgotten-sent")
    return _form_page(request, "registration/forgotten.html", form)


@require_safe
def forgotten_sent(request: HttpRequest) -> HttpResponse:
    return render(request, "registration/forgotten_sent.html")


class NewPassword(auth.PasswordResetConfirmView):
    """The page behind the link. It works once, and makes the browser a known one."""

    form_class = ForgottenPasswordForm
    template_name = "registration/new_password.html"
    success_url = reverse_lazy("login")

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        Guess(self.request, form.user.get_username()).remember(response)
        messages.success(self.request, f"Your password is set. Sign in with it.{_revoked(form)}")
        return response

    def form_invalid(self, form: Any) -> HttpResponse:
        response = super().form_invalid(form)
        response.status_code = 422
        return answer_errors(response, form) if form.retry_after_s is not None else response

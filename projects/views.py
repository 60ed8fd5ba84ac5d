"""Pages above the automations: projects and their variables, a builder's own settings, an organization's settings."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from projects import shown_once
from projects.forms import OrganizationForm, ProjectForm, TokenForm, VariableForm
from projects.models import ApiToken, Organization, Project, Variable, this_month
from projects.month_use import month_use

TOKEN_NOTE = "api-token"  # under which a new token waits for the page that shows it
BURST = 1000  # requests: the organization's page says how long they take at its rate

page_with_form = require_http_methods(["GET", "HEAD", "POST"])


def signed_in(request: HttpRequest) -> User:
    """Return the person asking; only for views behind `login_required`."""
    assert isinstance(request.user, User)
    return request.user


def own_project(request: HttpRequest, project_uid: uuid.UUID) -> Project:
    """Return a project that the person may see; raise Http404, which tells nobody whether there is one."""
    projects = Project.objects.for_user(request.user).select_related("organization")
    return get_object_or_404(projects, pk=project_uid)


@login_required
@require_safe
def project_list(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    context = {
        "projects": Project.objects.for_user(user).with_summary(user).order_by("name"),
        "may_create": Organization.objects.managed_by(user).exists(),
    }
    return render(request, "projects/list.html", context)


@login_required
@page_with_form
def new_project(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    if not Organization.objects.managed_by(user).exists():
        raise PermissionDenied
    form = ProjectForm(request.POST or None, user=user)
    if form.is_valid():
        return redirect("projects:detail", _make_project(form, user).pk)
    return render(request, "projects/new.html", {"form": form}, status=422 if form.is_bound else 200)


def _make_project(form: ProjectForm, user: User) -> Project:
    """Return the new project, or the one that the same form made when it was sent before."""
    project = form.instance
    project.uid, project.created_by = form.cleaned_data["uid"], user
    try:
        with transaction.atomic():  # so that the look-up below is not part of a transaction that has failed
            project.save(force_insert=True)
    except IntegrityError:
        return get_object_or_404(Project.objects.for_user(user), pk=project.uid)
    return project


@login_required
@require_safe
def project_detail(request: HttpRequest, project_uid: uuid.UUID) -> HttpResponse:
    return redirect("automations:list", own_project(request, project_uid).pk)


@login_required
@page_with_form
def variables(request: HttpRequest, project_uid: uuid.UUID) -> HttpResponse:
    project = own_project(request, project_uid)
    form = VariableForm(request.POST or None, instance=Variable(project=project))
    if form.is_valid() and _save_variable(form):
        messages.success(request, f"Variable “{form.instance.key}” added.")
        return redirect("projects:variables", project.pk)
    context = {"project": project, "nav": "variables", "variables": project.variables.all(), "form": form}
    return render(request, "projects/variables.html", context, status=422 if form.is_bound else 200)


@login_required
@page_with_form
def variable(request: HttpRequest, project_uid: uuid.UUID, pk: int) -> HttpResponse:
    project = own_project(request, project_uid)
    found = get_object_or_404(project.variables, pk=pk)
    form = VariableForm(request.POST or None, instance=found)
    if form.is_valid() and _save_variable(form):
        messages.success(request, f"Variable “{found.key}” saved.")
        return redirect("projects:variables", project.pk)
    context = {"project": project, "nav": "variables", "variable": found, "form": form}
    return render(request, "projects/variable.html", context, status=422 if form.is_bound else 200)


def _save_variable(form: VariableForm) -> bool:
    """Save; return False, with an error at the field, when another request took the key after the form looked."""
    try:
        with transaction.atomic():
            form.save()
    except IntegrityError:
        form.add_error("key", f"“{form.instance.key}” is already used in this project.")
        return False
    return True


@login_required
@require_POST
def delete_variable(request: HttpRequest, project_uid: uuid.UUID, pk: int) -> HttpResponse:
    project = own_project(request, project_uid)
    found = get_object_or_404(project.variables, pk=pk)
    found.delete()
    messages.success(request, f"Variable “{found.key}” deleted.")
    return redirect("projects:variables", project.pk)


@login_required
@never_cache  # the page may show a new token
@page_with_form
def settings_page(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    form = TokenForm(request.POST or None)
    if form.is_valid():
        _, text = ApiToken.objects.make(user, form.cleaned_data["name"], expires_at=form.expires_at)
        shown_once.keep(request, TOKEN_NOTE, text)
        return redirect("projects:settings")
    context = {
        "tokens": ApiToken.objects.for_user(user).filter(revoked_at=None),
        "form": form,
        "new_token": shown_once.take(request, TOKEN_NOTE),
        "organizations": Organization.objects.filter(memberships__user=user),
    }
    return render(request, "projects/settings.html", context, status=422 if form.is_bound else 200)


@login_required
@require_POST
def revoke_token(request: HttpRequest, pk: int) -> HttpResponse:
    token = get_object_or_404(ApiToken.objects.for_user(request.user), pk=pk, revoked_at=None)
    token.revoke()
    messages.success(request, f"Token “{token.name}” revoked.")
    return redirect("projects:settings")


@login_required
@page_with_form
def organization(request: HttpRequest, organization_uid: uuid.UUID) -> HttpResponse:
    """Show the settings to every member; owners and admins may change them."""
    user = signed_in(request)
    found = get_object_or_404(Organization, pk=organization_uid, memberships__user=user)
    may_change = Organization.objects.managed_by(user).filter(pk=found.pk).exists()
    if request.method == "POST" and not may_change:
        raise PermissionDenied  # 403, not 404: a member knows the page
    form = OrganizationForm(request.POST or None, instance=found, is_open=may_change)
    if form.is_valid():
        form.save()
        messages.success(request, "Saved. Applies from now on, also to executions already waiting.")
        return redirect("projects:organization", found.pk)
    found.refresh_from_db()  # a form writes what was typed into its instance, and the page shows what is stored
    context = {
        "organization": found,
        "form": form,
        "may_change": may_change,
        "use": month_use(found),
        "month": this_month(),
        "rate": f"{found.throttle_rate:g}",
        "highest_rate": f"{found.throttle_rate_limit:g}",
        "burst": BURST,
        "burst_time": timedelta(seconds=(BURST - 1) / found.throttle_rate),
    }
    return render(request, "projects/organization.html", context, status=422 if form.is_bound else 200)

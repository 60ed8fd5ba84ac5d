"""An organization's settings: what owners and admins set, and what staff have set for them."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from projects.forms import OrganizationForm
from projects.limits import month_use
from projects.models import Organization, this_month
from projects.views import page, signed_in

BURST = 1000  # requests: the page says how long they take at the organization's rate


@login_required
@page
def organization(request: HttpRequest, organization_uid: uuid.UUID) -> HttpResponse:
    """Show the settings to every member; owners and admins may change them."""
    user = signed_in(request)
    found = get_object_or_404(Organization, pk=organization_uid, memberships__user=user)
    may_change = Organization.objects.managed_by(user).filter(pk=found.pk).exists()
    if request.method == "POST" and not may_change:
        raise PermissionDenied
    form = OrganizationForm(request.POST or None, instance=found, is_open=may_change)
    if form.is_valid():
        form.save()
        messages.success(request, "Saved. Applies from now on, also to executions already waiting.")
        return redirect("projects:organization", found.pk)
    found.refresh_from_db()  # the form has written what was typed into it
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

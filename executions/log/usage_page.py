"""The usage page of a project, and the help page about executions."""

from __future__ import annotations

import uuid
from datetime import date, datetime

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from executions.log.filters import STATUS_ORDER
from executions.log.month_usage import MonthUsage
from projects.models import this_month
from projects.month_use import month_use
from projects.views import own_project


@login_required
@require_safe
def usage(request: HttpRequest, project_uid: uuid.UUID) -> HttpResponse:
    project = own_project(request, project_uid)
    asked = request.GET.get("month", "")
    month = _month(asked)
    context = {
        "project": project,
        "nav": "usage",
        "usage": MonthUsage(project, month or this_month()),
        "use": month_use(project.organization, month),
        "wrong_month": asked[:20] if asked and not month else "",
    }
    return render(request, "executions/usage.html", context)


@login_required
@require_safe
def help_page(request: HttpRequest) -> HttpResponse:
    return render(request, "executions/help.html", {"statuses": STATUS_ORDER})


def _month(text: str) -> date | None:
    """Read YYYY-MM; return None for other texts, for months before 2020 and for future ones."""
    try:
        month = datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007  (a month has no zone)
    except ValueError:
        return None
    return month if date(2020, 1, 1) <= month <= this_month() else None

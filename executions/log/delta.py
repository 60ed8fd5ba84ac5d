"""The live updates of the Execution Log: the rows that have changed since the page drew them, and the new ones."""

from __future__ import annotations

import uuid

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe

from executions.log import polls
from executions.log.filters import LogFilters
from executions.log.listing import PAGE_SIZE, as_uuid, executions_of
from executions.log.pending import why_each_pending
from executions.log.poll_budget import budget
from executions.models import ExecutionQuerySet
from executions.models.pace import Pace
from executions.states import Lane, Status
from projects.models import Project
from projects.views import own_project

NEW_LIMIT = 100  # new executions counted at most; the page then says "99+"
FILTERS = frozenset(("status", "automation", "range", "from", "to"))


@login_required
@require_safe
def delta(request: HttpRequest, project_uid: uuid.UUID) -> HttpResponse:
    """Answer the rows that have changed since the page drew them, and the number of matching ones that it lacks."""
    project = own_project(request, project_uid)
    with budget.charged(project):
        return _delta(request, project)


def _delta(request: HttpRequest, project: Project) -> HttpResponse:
    shown = shown_rows(request.GET.get("rows", ""))
    rows = executions_of(project).filter(pk__in=shown)
    found = list(rows.order_by().values_list("pk", "rev", "status", "lane"))
    in_line = {pk for pk, _, status, lane in found if status == Status.PENDING and lane == Lane.THROTTLED}
    depends = _depends(request.GET, project, shown, is_in_line=bool(in_line))
    result = polls.question(depends).ask()
    new = result.get("new", 0)
    changed_ids = {pk for pk, rev, _, _ in found if rev != shown[pk]}
    is_told = not new or request.GET.get("told") == in_words(new)
    is_heard = not changed_ids and (is_told or "told" not in request.GET)
    if is_heard and result.get("shown") == revisions([rev for _, rev, _, _ in found]):
        if new == NEW_LIMIT:  # the page says "99+" already, and need not hear of more
            del depends["new"], result["new"]
        polls.remember(request.META, polls.question(depends), result)
    # A place in line moves without any change of its row.
    changed = list(executions_of(project).filter(pk__in=changed_ids | in_line)) if changed_ids or in_line else []
    if not changed and is_told:
        return HttpResponse(status=204)
    waits = why_each_pending(project.organization, changed)
    context = {"project": project, "changed": changed, "new": in_words(new) if new else "", "waits": waits}
    return render(request, "executions/log.html#delta", context)


def _depends(
    asked: QueryDict, project: Project, shown: dict[uuid.UUID, int], *, is_in_line: bool
) -> dict[str, polls.Value]:
    """Return the values on which an answer depends."""
    depends: dict[str, polls.Value] = {}
    if shown:
        rows = executions_of(project).filter(pk__in=shown).order_by()
        depends["shown"] = (REVISIONS, rows.values_list("rev"))
    if is_in_line:  # each start moves the places in line
        paces = Pace.objects.filter(pk=project.organization_id)
        depends["line"] = ("MAX(throttle_at)", paces.values_list("throttle_at"))
    if "before" not in asked:
        missing = _missing(_matching(asked, project), shown)
        depends["new"] = ("COUNT(*)", missing.values_list("pk")[:NEW_LIMIT])
    return depends


def _matching(asked: QueryDict, project: Project) -> ExecutionQuerySet:
    executions = executions_of(project)
    if FILTERS.isdisjoint(asked):
        return executions  # most pages have no filter, and a form is dear
    filters = LogFilters(asked, project=project)
    filters.is_valid()
    return filters.narrow(executions)


def _missing(matching: ExecutionQuerySet, shown: dict[uuid.UUID, int]) -> ExecutionQuerySet:
    """Return the executions that the newest page lacks: new ones, and ones that match only since it was drawn."""
    missing = matching.exclude(pk__in=shown)
    if len(shown) >= PAGE_SIZE:  # older executions belong on the next page
        missing = missing.filter(pk__gt=min(shown))
    return missing.newest_first()


REVISIONS = "COUNT(*) || '.' || SUM(rev)"  # of rows whose revisions only grow


def revisions(revs: list[int]) -> str | None:
    """Return the value of REVISIONS for rows that have been read."""
    return f"{len(revs)}.{sum(revs)}" if revs else None


def in_words(new: int) -> str:
    return f"{NEW_LIMIT - 1}+" if new >= NEW_LIMIT else str(new)


def shown_rows(text: str) -> dict[uuid.UUID, int]:
    """Read `<uid>:<rev>,...` into revisions by id; leave out items that are not understood."""
    shown = {}
    for item in text.split(",")[: 2 * PAGE_SIZE]:  # bounds the query of a forged address
        uid, _, rev = item.partition(":")
        identifier = as_uuid(uid)
        if identifier and rev.isdecimal() and len(rev) < 10:
            shown[identifier] = int(rev)
    return shown

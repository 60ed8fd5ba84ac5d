"""The live updates of the Execution Log: the rows that have changed since the page drew them, and the new ones."""

from __future__ import annotations

import uuid
from collections.abc import Collection

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
    # A place in line moves without any change of its row.
    changed_ids = in_line | {pk for pk, rev, _, _ in found if rev != shown[pk]}
    changed = list(executions_of(project).filter(pk__in=changed_ids)) if changed_ids else []
    new = in_words(result["new"]) if result.get("new") else ""
    is_told = not new or request.GET.get("told") == new
    revs = {pk: rev for pk, rev, _, _ in found} | {row.pk: row.rev for row in changed}
    if result.get("shown") == revisions(revs.values()):  # nothing has moved in between
        if result.get("new") == NEW_LIMIT:  # the page then says "99+", and need not hear of more
            del depends["new"], result["new"]
        polls.remember(request.META, polls.question(depends), result, shown=revs, told=new)
    if not changed and is_told:
        return HttpResponse(status=204)
    waits = why_each_pending(project.organization, changed)
    context = {"project": project, "changed": changed, "new": "" if is_told else new, "waits": waits}
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
        depends["new"] = ("COUNT(*)", _missing(asked, project, shown).values_list("pk")[:NEW_LIMIT])
    return depends


def _missing(asked: QueryDict, project: Project, shown: dict[uuid.UUID, int]) -> ExecutionQuerySet:
    """Return the executions that the newest page lacks: new ones, and ones that match only since it was drawn."""
    executions = executions_of(project).exclude(pk__in=shown).newest_first()
    after = min(shown) if len(shown) >= PAGE_SIZE else None  # older executions belong on the next page
    if FILTERS.isdisjoint(asked):  # most pages have no filter, and a form is dear
        return executions.filter(pk__gt=after) if after else executions
    filters = LogFilters(asked, project=project)
    filters.is_valid()
    return filters.narrow(executions, after=after)


REVISIONS = "COUNT(*) || '.' || SUM(rev)"  # of rows whose revisions only grow


def revisions(revs: Collection[int]) -> str | None:
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

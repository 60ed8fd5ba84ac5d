"""A step run's input or output: on a page, coloured up to COLOUR_LIMIT, and as a download."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers
from pygments import highlight  # type: ignore[import-untyped]
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
from pygments.lexers import JsonLexer  # type: ignore[import-untyped]

from executions import sealed_json
from executions.log.detail import own_execution
from executions.models import Execution, StepRun
from projects.htmx import HtmxRequest, wants_part
from projects.views import own_project

COLOUR_LIMIT = 32 * 1024  # characters of JSON; coloured HTML is 7.5 times as long
ITERATION = re.compile(r"[0-9.]{0,32}")
SIDES = {"input": "Input", "output": "Output"}


@dataclass(frozen=True, slots=True)
class ShownPayload:
    """One payload as people see it: secrets masked, indented, and only an excerpt when it is too large for a page."""

    text: str
    html: SafeString | None
    bytes: int
    is_excerpt: bool


@login_required
@require_safe
@never_cache
@vary_on_headers("HX-Request")
def payload(
    request: HtmxRequest, project_uid: uuid.UUID, execution_id: uuid.UUID, attempt: int, key: str, side: str
) -> HttpResponse:
    project = own_project(request, project_uid)
    execution = own_execution(request, project_uid, execution_id)
    run = _run(request, execution, attempt, key)
    if side not in SIDES or (side == "output" and run.is_trigger):
        raise Http404("A trigger has only an input.")
    if "download" in request.GET:
        return _download(run, side)
    context = {
        "project": project, "nav": "executions", "execution": execution, "run": run, "side": side, "sides": SIDES,
        "shown": _shown(run, side), "block_id": f"payload-{run.attempt}-{run.key}",
        "error": run.error if side == "output" else "", "is_removed": run.is_removed(side),
    }  # fmt: skip
    part = "#payload" if wants_part(request) else ""
    return render(request, f"executions/payload.html{part}", context)


def _run(request: HtmxRequest, execution: Execution, attempt: int, key: str) -> StepRun:
    if attempt > execution.attempt:
        raise Http404("No such attempt.")
    iteration = request.GET.get("iteration", "")
    if not ITERATION.fullmatch(iteration):
        raise Http404("No such iteration.")
    runs = StepRun.objects.filter(execution_id=execution.pk, attempt=attempt, key=key, iteration=iteration)
    return get_object_or_404(runs)


def _shown(run: StepRun, side: str) -> ShownPayload | None:
    stored: str | None = getattr(run, side)
    size: int = getattr(run, f"{side}_bytes")
    if stored is None:
        return None
    if size > sealed_json.ROW_LIMIT:
        return ShownPayload(sealed_json.shown(stored), None, size, is_excerpt=True)
    text = _indented(sealed_json.shown(stored))
    return ShownPayload(text, _coloured(text) if len(text) <= COLOUR_LIMIT else None, size, is_excerpt=False)


def _indented(text: str) -> str:
    try:
        return json.dumps(sealed_json.loads(text), indent=2, ensure_ascii=False).encode(errors="strict").decode()
    except ValueError:  # not JSON, or with characters that no page can hold: shown as stored
        return text


def _coloured(text: str) -> SafeString:
    """Return coloured HTML; it is safe, because Pygments escapes the text."""
    return mark_safe(str(highlight(text, JsonLexer(), HtmlFormatter(nowrap=True))))


def _download(run: StepRun, side: str) -> HttpResponse:
    text = run.shown(side)
    if text is None:
        raise Http404("Removed by retention." if run.is_removed(side) else "This step has no stored payload here.")
    return HttpResponse(
        text,
        content_type="application/json",
        headers={
            "Content-Disposition": f'attachment; filename="{run.execution_id}-{run.attempt}-{run.key}-{side}.json"',
            "X-Content-Type-Options": "nosniff",
        },
    )

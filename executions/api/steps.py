"""The step runs of one attempt with their payloads, in which secrets are masked."""

from __future__ import annotations

import uuid

import orjson
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from executions.api import answers, parameters, shapes
from executions.api.endpoint import Caller, endpoint
from executions.models import StepRun
from executions.sealed_json import EXCERPT

WHOLE_LIMIT = 16 * 1024 * 1024  # characters of whole payloads in one answer; the others are excerpts


@endpoint("GET", "HEAD")
def steps(request: HttpRequest, caller: Caller, project_uid: uuid.UUID, execution_id: uuid.UUID) -> HttpResponse:
    execution = get_object_or_404(caller.executions_of(project_uid), pk=execution_id)
    attempt = parameters.number(request, "attempt", least=1, most=execution.attempt, default=execution.attempt)
    runs = execution.step_runs_of(attempt).order_by("attempt", "position", "started_at")
    if key := parameters.text(request, "key"):
        runs = runs.filter(key=_known(key))
    limit = parameters.number(request, "limit", most=parameters.PAGE_LIMIT, default=parameters.PAGE_LIMIT)
    skip = parameters.number(request, "skip", most=parameters.SKIP_LIMIT, default=0)
    return answers.ok({"steps": _with_payloads(list(runs[skip : skip + limit])), "attempt": attempt})


def _known(key: str) -> str:
    # PostgreSQL would raise an error for a NUL character.
    if not key.isascii() or not key.isprintable():
        raise parameters.bad("key", "is not the key of a step.")
    return key


def _with_payloads(runs: list[StepRun]) -> list[shapes.Shape]:
    shown, left = [], WHOLE_LIMIT
    for run in runs:
        shape = shapes.step_run(run)
        for side in ("input", "output"):
            size, is_removed = getattr(run, f"{side}_bytes"), run.is_removed(side)
            is_whole = size <= left and not is_removed
            left -= size if is_whole else 0
            shape |= {side: _payload(run, side, is_whole=is_whole), f"{side}_is_whole": is_whole}
            shape |= {f"{side}_is_removed": is_removed}
        shown.append(shape)
    return shown


def _payload(run: StepRun, side: str, *, is_whole: bool) -> object:
    """Return a whole payload as its stored JSON text, otherwise the beginning of that text as a string."""
    text = run.shown(side)
    if text is None:
        return None
    return orjson.Fragment(text) if is_whole else text[:EXCERPT]

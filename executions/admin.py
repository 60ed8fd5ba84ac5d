"""Admin pages on which staff read executions, receipts, engines and retention runs, with secrets masked."""

from __future__ import annotations

import uuid
from typing import Any

import django_q.admin  # noqa: F401  (its registrations are undone below, whichever app comes first)
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django_q.models import Failure, OrmQ, Schedule, Success

from executions.models import Attempt, Engine, Execution, Receipt, RetentionRun, StepRun
from projects.admin import ReadOnly

SHOWN = 2_000  # characters of a payload that a page shows


class FoundById(ReadOnly):
    """Lists a growing table by its key, newest first, and searches by exact id: both use the primary key's index."""

    ordering = ["-pk"]
    search_fields = ["pk"]
    search_help_text = "Search by the exact id."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(pk=uuid.UUID(term)), False
        except ValueError:
            return queryset.none(), False


@admin.register(Execution)
class ExecutionAdmin(FoundById):
    list_display = ["id", "automation", "project", "status", "attempt", "started_at", "finished_at"]
    list_select_related = ["automation", "project"]
    list_filter = ["status", "lane"]
    fields = [
        "id", "organization", "project", "automation", "version", "trigger", "status", "reason_code", "reason", "lane",
        "attempt", "claim", "deaths", "engine_id", "run_at", "started_at", "finished_at", "steps", "connectors",
        "is_counted", "stop_reason", "payloads_removed_at", "earlier_attempts", "step_runs",
    ]  # fmt: skip

    @admin.display(description="earlier attempts")
    def earlier_attempts(self, execution: Execution) -> SafeString:
        attempts = Attempt.objects.filter(execution_id=execution.pk).order_by("number")
        return format_html_join("", "<p>{}: {} {}</p>", ((one.number, one.state.label, one.reason) for one in attempts))

    @admin.display(description="step runs")
    def step_runs(self, execution: Execution) -> SafeString:
        return format_html_join("", "{}", ((_as_html(run),) for run in _all_step_runs(execution)))


def _all_step_runs(execution: Execution) -> QuerySet[StepRun]:
    return StepRun.objects.filter(execution_id=execution.pk).order_by("attempt", "position")


def _as_html(run: StepRun) -> SafeString:
    return format_html(
        "<details><summary>{} · {} · attempt {} · {}</summary><p>{}</p><pre>{}</pre><pre>{}</pre></details>",
        run.key, run.state.label, run.attempt or "all", run.started_at, run.error, _cut(run, "input"),
        _cut(run, "output"),
    )  # fmt: skip


def _cut(run: StepRun, side: str) -> str:
    text = run.shown(side)
    if text is None:
        return "removed by retention" if run.is_removed(side) else "–"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} … ({SHOWN} of {len(text)} characters)"


@admin.register(Receipt)
class ReceiptAdmin(FoundById):
    list_display = ["id", "automation", "outcome", "code", "reason"]
    list_select_related = ["automation"]
    list_filter = ["outcome"]


@admin.register(Engine)
class EngineAdmin(ReadOnly):
    list_display = ["id", "host", "pid", "started_at", "beat_at", "running", "is_stopping"]


@admin.register(RetentionRun)
class RetentionRunAdmin(ReadOnly):
    list_display = [
        "started_at", "finished_at", "is_dry_run", "is_complete", "organization", *RetentionRun.COUNTED, "partitions",
    ]  # fmt: skip
    list_select_related = ["organization"]
    list_filter = ["is_dry_run", "is_complete"]


# A schedule or a queued task names any function of Python, which a worker then calls: whoever writes one runs code as
# the service. Staff may read which housekeeping tasks failed, and why.
admin.site.unregister([Schedule, OrmQ, Success, Failure])


@admin.register(Failure)
class FailedTaskAdmin(ReadOnly):
    list_display = ["name", "func", "started", "stopped"]
    fields = ["name", "func", "started", "stopped", "result"]
    actions = None

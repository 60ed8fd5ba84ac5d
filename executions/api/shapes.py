"""Rows in the shape of the API: the documented fields of the Automations API v1, then our own."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import F, Q

from automations.definition import ActionStep, Definition
from automations.models import Automation
from executions.models import Execution, StepRun
from executions.states import Lane, StepStatus
from projects.models import Project

type Shape = dict[str, object]


def project(row: Project) -> Shape:
    """Return a project; `row.members` should be prefetched."""
    return {
        "id": str(row.uid),
        "title": row.name,
        "description": row.description,
        "user_id": _user_id(row.created_by_id),
        "org_id": str(row.organization_id),
        "shared": [_user_id(member.pk) for member in row.members.all()],
        "tags": [],  # documented; projects have neither tags nor types here
        "type": "standard",
        "created_by": {
            "uid": _user_id(row.created_by_id),
            "username": row.created_by.username if row.created_by else "",
        },
        "updated_by": None,  # not recorded
        "created_at": at(row.created_at),
        "updated_at": at(row.updated_at),
    }


def automation(row: Automation, *, with_steps: bool = False) -> Shape:
    """Return an automation; its steps are those of the draft, without the values of their fields."""
    shape: Shape = {
        "id": str(row.uid),
        "title": row.name,
        "description": row.description,
        "project_id": str(row.project_id),
        "org_id": str(row.organization_id),
        "user_id": _user_id(row.created_by_id),
        "active": row.is_active,
        "throttle": row.is_throttled,
        "updated_by": None,  # not recorded
        "created_at": at(row.created_at),
        "updated_at": at(row.updated_at),
        "version": row.live_version.number if row.live_version else None,
        "time_limit": row.time_limit_s,
    }
    return shape | _steps(row.definition) if with_steps else shape


def executions(rows: Iterable[Execution]) -> list[Shape]:
    """Return executions with the step runs of their current attempts, which one query reads."""
    found = list(rows)
    runs: dict[uuid.UUID, list[StepRun]] = {row.pk: [] for row in found}
    current = Q(attempt=0) | Q(attempt=F("execution__attempt"))
    query = StepRun.objects.filter(current, execution__in=list(runs)).defer("input", "output")
    for run in query.order_by("attempt", "position", "started_at"):
        runs[run.execution_id].append(run)
    return [_execution(row, runs[row.pk]) for row in found]


def _execution(row: Execution, runs: list[StepRun]) -> Shape:
    waits = [run for run in runs if run.connector == "wait" and run.state is StepStatus.SUCCESS]
    return {
        "id": str(row.pk),
        "title": row.automation.name,
        "project_id": str(row.project_id),
        "org_id": str(row.organization_id),
        "rule_id": str(row.automation_id),
        "trigger_payload_id": str(row.pk),  # the payload is stored under the execution's own id
        "status": row.state.code,
        "task": len(runs),
        "resume": len(waits),
        "details": [_detail(run) for run in runs],
        "step_name_map": {run.key: str(run.position + 1) for run in runs if not run.is_trigger},
        "duration": _milliseconds(row.duration),
        "created_at": at(row.accepted_at),
        "updated_at": at(_updated_at(row)),
        "attempt": row.attempt,
        "retries_left": row.retries_left,
        "reason_code": row.reason_code,
        "reason": row.reason,
        "version": row.version.number,
        "lane": Lane(row.lane).name.lower(),
        "started_at": at(row.started_at),
        "finished_at": at(row.finished_at),
        "payloads_removed_at": at(row.payloads_removed_at),
        "is_stopping": row.is_stopping,
    }


def _detail(run: StepRun) -> Shape:
    shape: Shape = {
        "start": _epoch_ms(run.started_at),
        "end": _epoch_ms(run.finished_at),
        "title": run.title,
        "name": "1" if run.is_trigger else run.key,  # as documented: the trigger's name is its number
        "status": run.state.code,
        "parent": None,
        "counter": _counter(run),
    }
    return shape if run.is_trigger else shape | {"group": run.connector}


def step_run(run: StepRun) -> Shape:
    """Return one step run without its payloads."""
    return {
        "key": run.key,
        "title": run.title,
        "connector": run.connector,
        "action": run.action,
        "status": run.state.code,
        "attempt": run.attempt,
        "iteration": run.iteration,
        "position": run.position,
        "tries": run.tries,
        "started_at": at(run.started_at),
        "finished_at": at(run.finished_at),
        "resume_at": at(run.resume_at),
        "duration": _milliseconds(run.duration),
        "error_code": run.error_code,
        "error": run.error,
        "is_outside": run.is_external,
    }


def at(moment: datetime | None) -> str | None:
    """Return a time as ISO 8601 in UTC with milliseconds."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _steps(definition: Definition) -> Shape:
    first = [step.key for step in definition.steps[:1]]
    following = {step.key: after.key for step, after in zip(definition.steps, definition.steps[1:], strict=False)}
    steps: list[Any] = []
    for step in definition.walk():
        shape = {"id": step.key, "name": step.key, "title": step.title, "type": step.kind, "skipped": step.disabled}
        if isinstance(step, ActionStep):
            shape |= {"connector_id": step.connector, "action": step.action}
        steps.append(shape | {"next": [following[step.key]] if step.key in following else []})
    return {"trigger": {"id": definition.trigger.uid, "next": first}, "steps": steps}


def _updated_at(row: Execution) -> datetime:
    """Return the time of the latest move that the row holds."""
    retried_at = row.run_at if row.attempt > 1 else None
    return row.finished_at or row.started_at or retried_at or row.accepted_at


def _user_id(pk: int | None) -> str:
    return "" if pk is None else str(pk)


def _counter(run: StepRun) -> int:
    last = run.iteration.rpartition(".")[2]
    return int(last) if last.isdecimal() else 0


def _epoch_ms(moment: datetime | None) -> int | None:
    return int(moment.timestamp() * 1000) if moment else None


def _milliseconds(duration: timedelta | None) -> int | None:
    return duration // timedelta(milliseconds=1) if duration is not None else None

"""Backlogs: many executions that wait, stored in the database itself, as posting them would take minutes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from itertools import batched
from typing import Any

from django.db import transaction
from django.utils import timezone

from automations.models import Trigger
from executions.models import Execution, StepRun
from executions.states import Lane, Status, StepStatus
from projects.ids import new_id

AT_ONCE = 1000  # rows of one statement


def pile_up(trigger_uid: str, count: int, organizations: list[str] | None = None, **fields: Any) -> None:
    """Store `count` due executions of a trigger, for each of the organizations if there are any, else for its own.

    An organization of the list has a project with its own id. All have waited for a minute; `fields` replaces columns.
    """
    automation = Trigger.objects.select_related("automation__live_version").get(uid=trigger_uid).automation
    owners = [(uuid.UUID(text), uuid.UUID(text)) for text in organizations or ()]
    owners = owners or [(automation.organization_id, automation.project_id)]
    values = {
        "automation": automation, "version": automation.live_version,
        "trigger_id": trigger_uid, "lane": Lane.DIRECT, "status": Status.PENDING,
        "run_at": timezone.now() - timedelta(minutes=1),
    }  # fmt: skip
    rows = (
        Execution(**values | {"id": new_id(), "organization_id": owner, "project_id": project} | fields)
        for owner, project in owners
        for _ in range(count)
    )
    with transaction.atomic():
        for batch in batched(rows, AT_ONCE):
            Execution.objects.bulk_create(batch)
            StepRun.objects.bulk_create(_triggers_of(batch))


def _triggers_of(executions: tuple[Execution, ...]) -> Iterator[StepRun]:
    for execution in executions:
        yield StepRun(
            execution_id=execution.id, attempt=0, key="trigger", organization_id=execution.organization_id, position=0,
            status=StepStatus.SUCCESS, connector="http", action="request", started_at=execution.run_at,
            input='{"body":{"name":"ada"}}', input_bytes=23,
        )  # fmt: skip

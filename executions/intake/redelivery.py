"""A delivery that comes again: what has become of its execution, and its retry if that has failed."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

from executions.intake.acceptance import Duplicate
from executions.intake.fair_threads import FairThreads, Join
from executions.intake.live_trigger import LiveTrigger
from executions.models import Execution
from executions.models.retry import RetryRefused
from executions.states import ATTEMPT_LIMIT, Status


async def present_status(live: LiveTrigger, duplicate: Duplicate) -> Status | None:
    """Return the status of a repeated delivery's execution, which is retried first if it has failed and may be."""
    first = duplicate.first
    if first is None or first.status is not Status.FAILED or first.attempt >= ATTEMPT_LIMIT:
        return first.status if first else None
    return await retries().submit(duplicate.execution_id, live.organization_id).result()


@cache
def retries() -> FairThreads[uuid.UUID, Status]:
    return FairThreads("delivery-retry", _retry, batch=1, at_once=(1,))


def _retry(execution_ids: Sequence[uuid.UUID], _join: Join[uuid.UUID]) -> list[Status | Exception]:
    """Retry an execution, if nothing stands against it, and return its status."""
    execution = Execution.objects.select_related("organization").get(pk=execution_ids[0])
    with suppress(RetryRefused):
        execution.retry(None)
    execution.refresh_from_db(fields=["status"])
    return [execution.state]

"""Hand an execution in, and wait for it: until it is stored and, with a Response step, until its reply is."""

from __future__ import annotations

import time
import uuid

from executions.intake.acceptance import group_commit
from executions.intake.replies import Wait, replies
from executions.monitoring import histograms
from executions.states import Lane
from executions.store.rows import NewExecution


class Ticket:
    """The wait for an execution that was handed in. It keeps nothing of the payload."""

    __slots__ = ("_started", "_submission", "reply")

    def __init__(self, execution: NewExecution) -> None:
        self._started = time.perf_counter()
        self.reply: Wait | None = replies().expect(execution.id) if execution.lane is Lane.SYNC else None
        self._submission = group_commit().submit(execution, execution.organization_id)

    async def stored(self) -> uuid.UUID:
        """Return the execution's id once it is durable; raise Stale, Duplicate, LimitReached or Unavailable."""
        try:
            execution_id = await self._submission.result()
        except BaseException:
            if self.reply:
                self.reply.give_up()
            raise
        finally:
            del self._submission  # and the payload with it
        histograms.accepted(self._started)
        return execution_id


def accept(execution: NewExecution) -> Ticket:
    """Hand an execution to the next commit and return the ticket to wait on."""
    return Ticket(execution)


async def reply_of(execution_id: uuid.UUID, organization_id: uuid.UUID) -> Wait:
    """Return the wait for the reply of an execution that is stored already, as for a repeated delivery."""
    return await replies().expect_stored(execution_id, organization_id)

"""What the intake writes."""

from __future__ import annotations

from executions import encoding
from executions.states import Status, StepStatus
from executions.store.dialect import PAYLOAD_COLUMNS, STEP_COLUMNS, Row
from executions.store.limits import Limits
from executions.store.rows import NewExecution
from projects.ids import made_at

EXECUTION_COLUMNS = (
    "id", "organization_id", "project_id", "automation_id", "version_id", "trigger_id", "kind", "status", "lane",
    "reason_code", "reason", "attempt", "claim", "deaths", "run_at", "time_limit_s", "ran_ms", "steps", "connectors",
    "is_counted", "rev",
)  # fmt: skip


class Accepting(Limits):
    def insert_executions(self, executions: list[NewExecution]) -> None:
        """Store accepted requests with their payloads, and wake the engines once."""
        self.insert_many("executions_execution", EXECUTION_COLUMNS, [self._execution_row(new) for new in executions])
        self.insert_many("executions_steprun", STEP_COLUMNS, [self._trigger_row(new) for new in executions])
        large = [
            (self.uid(new.id), 0, "trigger", "", "input", self.uid(new.organization_id), new.payload)
            for new in executions
            if len(new.payload) > encoding.ROW_LIMIT
        ]
        self.insert_many("executions_payload", PAYLOAD_COLUMNS, large)
        self.notify_work()

    def _execution_row(self, new: NewExecution) -> Row:
        return (
            self.uid(new.id), self.uid(new.organization_id), self.uid(new.project_id), self.uid(new.automation_id),
            self.uid(new.version_id), new.trigger_uid, 0, Status.PENDING.value, new.lane.value, "", "", 1, 0, 0,
            self.at(made_at(new.id)), new.time_limit_s, 0, 0, "", False, 1,
        )  # fmt: skip

    def _trigger_row(self, new: NewExecution) -> Row:
        at = self.at(made_at(new.id))
        size = len(new.payload)
        text = new.payload if size <= encoding.ROW_LIMIT else new.payload[: encoding.EXCERPT]
        return (
            self.uid(new.id), 0, "trigger", "", self.uid(new.organization_id), 0, StepStatus.SUCCESS.value,
            new.connector, new.event, new.title, 1, at, at, None, text, size, None, 0, "", "", False,
        )  # fmt: skip

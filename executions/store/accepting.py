"""The statements of the intake: executions, receipts, and the ids that senders give their deliveries."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from executions import sealed_json
from executions.states import Lane, Status, StepStatus
from executions.store.dialect import PAYLOAD_COLUMNS, STEP_COLUMNS, Row
from executions.store.limit_counters import LimitCounters
from executions.store.rows import First, LiveRow, NewExecution, NewReceipt
from projects.ids import made_at

EXECUTION_COLUMNS = (
    "id", "organization_id", "project_id", "automation_id", "version_id", "trigger_id", "kind", "status", "lane",
    "reason_code", "reason", "attempt", "claim", "deaths", "run_at", "time_limit_s", "ran_ms", "steps", "connectors",
    "is_counted", "rev", "is_due",
)  # fmt: skip
RECEIPT_COLUMNS = (
    "id", "organization_id", "project_id", "automation_id", "trigger_id", "outcome", "http_status", "code", "reason",
    "execution_id",
)  # fmt: skip
EXECUTED = "executed"


class Accepting(LimitCounters):
    def live(self, automation_ids: set[uuid.UUID]) -> dict[uuid.UUID, LiveRow]:
        """Return each automation's live revision and its organization's limits, as its transaction sees them."""
        where, parameters = self.among("a.uid", automation_ids)
        rows = self.ask(
            f"SELECT a.uid, {self.now}, a.live_rev, o.direct_limit, o.duplicates_h, o.time_limit_s"
            " FROM automations_automation a"
            f" JOIN projects_organization o ON o.uid = a.organization_id WHERE {where}",
            parameters,
        )
        return {self.to_uuid(row[0]): LiveRow(self.moment(row[1]), *row[2:]) for row in rows()}

    # --- deliveries

    def remember_deliveries(
        self, executions: Sequence[NewExecution], until: dict[uuid.UUID, datetime]
    ) -> dict[tuple[str, str], tuple[uuid.UUID, str]]:
        """Remember the executions' delivery ids, each until its moment in `until`, except those remembered already.

        Pass one execution for each (trigger, key): an INSERT cannot meet the same row twice. Return for each pair the
        execution that it has made, now or before, and the fingerprint of that request.
        """
        rows = [
            (execution.trigger_uid, execution.delivery.key, self.uid(execution.organization_id),
             execution.delivery.fingerprint, self.uid(execution.id),
             self.at(until[execution.id]))
            for execution in executions if execution.delivery
        ]  # fmt: skip
        rows.sort()  # one order of locks: two processes cannot deadlock
        self._run(
            "INSERT INTO executions_delivery"
            " (trigger_id, key, organization_id, fingerprint, execution_id, expires_at)"
            f" VALUES {', '.join(['(%s, %s, %s, %s, %s, %s)'] * len(rows))} ON CONFLICT (trigger_id, key)"
            " DO UPDATE SET fingerprint = excluded.fingerprint, execution_id = excluded.execution_id,"
            f" expires_at = excluded.expires_at WHERE executions_delivery.expires_at < {self.now}",
            [value for row in rows for value in row],
        )
        known = self.ask(
            "SELECT trigger_id, key, execution_id, fingerprint FROM executions_delivery"
            f" WHERE (trigger_id, key) IN (VALUES {', '.join(['(%s, %s)'] * len(rows))})",
            [value for row in rows for value in row[:2]],
        )
        return {(row[0], row[1]): (self.to_uuid(row[2]), row[3]) for row in known()}

    def firsts(self, execution_ids: set[uuid.UUID]) -> dict[uuid.UUID, First]:
        """Return what has become of executions; those that retention has removed are missing."""
        where, parameters = self.among("id", execution_ids)
        rows = self.ask(
            f"SELECT id, status, reason_code, lane, attempt FROM executions_execution WHERE {where}", parameters
        )
        return {self.to_uuid(row[0]): First(Status(row[1]), row[2], Lane(row[3]), row[4]) for row in rows()}

    def turn_delivery(self, execution: NewExecution) -> None:
        """Let a delivery that is remembered, and so locked, stand for another execution from now on."""
        assert execution.delivery is not None
        self._run(
            "UPDATE executions_delivery SET execution_id = %s, fingerprint = %s WHERE trigger_id = %s AND key = %s",
            [self.uid(execution.id), execution.delivery.fingerprint, execution.trigger_uid, execution.delivery.key],
        )

    def forget_delivery(self, trigger_uid: str, key: str) -> None:
        """Forget a delivery whose execution is refused after all, so that its sender may try again."""
        self._run("DELETE FROM executions_delivery WHERE trigger_id = %s AND key = %s", [trigger_uid, key])

    # --- receipts

    def insert_receipts(self, receipts: Sequence[NewReceipt]) -> None:
        """Store the receipts that are to be written; the others are only counted."""
        rows: list[Row] = [
            (self.uid(receipt.id), self.uid(receipt.organization_id), self.uid(receipt.project_id),
             self.uid(receipt.automation_id), receipt.trigger_uid, receipt.outcome, receipt.http_status, receipt.code,
             receipt.reason, self.uid(receipt.execution_id) if receipt.execution_id else None)
            for receipt in receipts if receipt.is_written
        ]  # fmt: skip
        self.insert_many("executions_receipt", RECEIPT_COLUMNS, rows)

    def count_receipts(self, shard: int, executions: Sequence[NewExecution], receipts: Sequence[NewReceipt]) -> None:
        """Add the requests to their automations' counters by day (UTC) and outcome."""
        requests: list[tuple[NewExecution | NewReceipt, str]] = [(execution, EXECUTED) for execution in executions]
        requests += [(receipt, receipt.outcome) for receipt in receipts]
        totals = Counter(
            (request.automation_id, request.organization_id, made_at(request.id).date(), outcome)
            for request, outcome in requests
        )
        columns = ("organization_id", "automation_id", "day", "outcome", "shard", "count")
        rows: list[Row] = [
            (self.uid(organization), self.uid(automation), day.isoformat(), outcome, shard, total)
            for (automation, organization, day, outcome), total in sorted(totals.items())
        ]
        self.insert_many(
            "executions_receiptday", columns, rows,
            "ON CONFLICT (automation_id, day, outcome, shard)"
            " DO UPDATE SET count = executions_receiptday.count + excluded.count",
        )  # fmt: skip

    # --- executions

    def has_execution(self, execution_id: uuid.UUID) -> bool:
        return bool(self.ask("SELECT 1 FROM executions_execution WHERE id = %s", [self.uid(execution_id)])())

    def has_receipt(self, receipt_id: uuid.UUID) -> bool:
        return bool(self.ask("SELECT 1 FROM executions_receipt WHERE id = %s", [self.uid(receipt_id)])())

    def insert_executions(self, executions: list[NewExecution]) -> None:
        """Store accepted executions with their payloads, and wake the engines once."""
        self.insert_many(
            "executions_execution", EXECUTION_COLUMNS, [self._execution_row(execution) for execution in executions]
        )
        self.insert_many("executions_steprun", STEP_COLUMNS, [self._trigger_row(execution) for execution in executions])
        large = [
            (self.uid(execution.id), 0, "trigger", "", "input", self.uid(execution.organization_id), execution.payload)
            for execution in executions
            if len(execution.payload) > sealed_json.ROW_LIMIT
        ]
        self.insert_many("executions_payload", PAYLOAD_COLUMNS, large)
        self.notify_work()

    def _execution_row(self, execution: NewExecution) -> Row:
        return (
            self.uid(execution.id), self.uid(execution.organization_id), self.uid(execution.project_id),
            self.uid(execution.automation_id), self.uid(execution.version_id), execution.trigger_uid, 0,
            Status.PENDING.value, execution.lane.value, execution.reason_code, execution.reason, 1, 0, 0,
            self.at(execution.run_at or made_at(execution.id)), execution.time_limit_s, 0, 0, "", False, 1,
            execution.is_due and execution.lane is not Lane.THROTTLED,
        )  # fmt: skip

    def _trigger_row(self, execution: NewExecution) -> Row:
        at = self.at(made_at(execution.id))
        size = len(execution.payload)  # a large payload has a row of its own, and its step run an excerpt
        text = execution.payload if size <= sealed_json.ROW_LIMIT else execution.payload[: sealed_json.EXCERPT]
        return (
            self.uid(execution.id), 0, "trigger", "", self.uid(execution.organization_id), 0, StepStatus.SUCCESS.value,
            execution.connector, execution.event, execution.title, 1, at, at, None, text, size, None, 0, "", "", False,
        )  # fmt: skip

"""Claiming: whose turn it is, and what its runner needs."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Iterable

from executions import encoding
from executions.states import Lane, StepStatus
from executions.store.dialect import Row
from executions.store.rows import Claimed, DoneStep
from executions.store.throttle import Throttle

CLAIM_COLUMNS = (
    "id, organization_id, project_id, automation_id, version_id, lane, attempt, claim, deaths, suspicion,"
    " time_limit_s, ran_ms, is_counted"
)
type VariableRow = tuple[str, str, bool]

# What a claim takes, in the words of the partial index execution_due; suspects have one of their own.
DUE = "status IN (0, 2) AND suspicion < 2"
SUSPECTS = "status = 0 AND suspicion >= 2"
FIRST_OF_LANE = f"SELECT run_at FROM executions_execution WHERE {DUE} AND lane = {{}} ORDER BY run_at LIMIT 1"
STARTING = "status = 1, engine_id = %s, claim = claim + 1, rev = rev + 1, reason_code = '', reason = ''"


class Claims(Throttle):
    @abstractmethod
    def claim_rows(self, engine_id: uuid.UUID, limit: int) -> list[Row]:
        """Take the executions whose turn it is, sync lane first, then by due time; return CLAIM_COLUMNS."""

    def may_claim(self) -> bool:
        """Look whether anything is due: cheaper than a transaction that claims nothing."""
        due = f"SELECT 1 FROM executions_execution WHERE {DUE} AND lane < 2 AND run_at <= {self.now}"
        with self.cursor() as cursor:
            cursor.execute(
                f"SELECT EXISTS ({due}) OR EXISTS (SELECT 1 FROM executions_execution WHERE status = 0 AND lane = 2)",
                [],
            )
            return bool(cursor.fetchone()[0])

    def claim(self, engine_id: uuid.UUID, limit: int) -> list[Claimed]:
        rows = self.claim_rows(engine_id, limit)
        rows += self.claim_throttled(engine_id, limit - len(rows))
        return self.loaded(rows)

    @abstractmethod
    def claim_suspect_rows(self, engine_id: uuid.UUID) -> list[Row]:
        """Take one suspect, if there is one."""

    def claim_suspect(self, engine_id: uuid.UUID) -> list[Claimed]:
        """Take one of those that must run alone."""
        return self.loaded(self.claim_suspect_rows(engine_id))

    def has_suspects(self) -> bool:
        with self.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM executions_execution WHERE {SUSPECTS} LIMIT 1")
            return cursor.fetchone() is not None

    def loaded(self, rows: list[Row]) -> list[Claimed]:
        claimed = [self._claimed(row) for row in rows]
        if claimed:
            self._load_step_runs({execution.id: execution for execution in claimed})
        return claimed

    def _claimed(self, row: Row) -> Claimed:
        ids = [self.to_uuid(value) for value in row[:5]]
        return Claimed(
            id=ids[0], organization_id=ids[1], project_id=ids[2], automation_id=ids[3], version_id=ids[4],
            lane=Lane(row[5]), attempt=row[6], claim=row[7], deaths=row[8], suspicion=row[9], time_limit_s=row[10],
            ran_ms=row[11], is_counted=bool(row[12]),
        )  # fmt: skip

    def _load_step_runs(self, claimed: dict[uuid.UUID, Claimed]) -> None:
        """Read the payloads, and what is durable already of those that are resumed."""
        where, parameters = self.among("s.execution_id", claimed)
        with self.cursor() as cursor:
            cursor.execute(
                "SELECT s.execution_id, s.attempt, s.key, s.iteration, s.status, s.tries, s.error_code, s.resume_at,"
                " COALESCE(p.body, s.input), COALESCE(q.body, s.output) FROM executions_steprun s"
                " LEFT JOIN executions_payload p ON s.attempt = 0 AND s.input_bytes > %s AND p.execution_id ="
                " s.execution_id AND p.attempt = 0 AND p.key = s.key AND p.iteration = '' AND p.side = 'input'"
                " LEFT JOIN executions_payload q ON s.output_bytes > %s AND q.execution_id = s.execution_id"
                " AND q.attempt = s.attempt AND q.key = s.key AND q.iteration = s.iteration AND q.side = 'output'"
                f" WHERE {where}",
                [encoding.ROW_LIMIT, encoding.ROW_LIMIT, *parameters],
            )
            for row in cursor.fetchall():
                self._add_step_run(claimed[self.to_uuid(row[0])], row)

    def _add_step_run(self, execution: Claimed, row: Row) -> None:
        _, attempt, key, iteration, status, tries, error_code, resume_at, input_text, output_text = row
        if attempt == 0:
            execution.payload = input_text
        elif attempt == execution.attempt:
            execution.done[key, iteration] = DoneStep(
                status=StepStatus(status), tries=tries, output=output_text, error_code=error_code,
                resume_at=self.to_time(resume_at),
            )  # fmt: skip

    def variables(self, project_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[VariableRow]]:
        """Return each project's variables as (key, encrypted value, is secret), by key."""
        found: dict[uuid.UUID, list[VariableRow]] = {project_id: [] for project_id in project_ids}
        where, parameters = self.among("project_id", found)
        with self.cursor() as cursor:
            cursor.execute(
                f"SELECT project_id, key, encrypted, is_secret FROM projects_variable WHERE {where} ORDER BY key",
                parameters,
            )
            for project_id, key, encrypted, is_secret in cursor.fetchall():
                found[self.to_uuid(project_id)].append((key, encrypted, bool(is_secret)))
        return found

    def next_due(self) -> float | None:
        """Return the seconds until the earliest that waits for a time or for its turn may be claimed."""
        with self.cursor() as cursor:
            lanes = " UNION ALL ".join(f"SELECT ({FIRST_OF_LANE.format(lane)}) AS run_at" for lane in (0, 1))
            cursor.execute(f"SELECT {self.seconds_since('MIN(run_at)')} FROM ({lanes}) AS first")
            seconds = cursor.fetchone()[0]
        dues = [None if seconds is None else -float(seconds), self.next_throttled()]
        return min((due for due in dues if due is not None), default=None)

"""Claiming: the executions that an engine runs next, loaded with all that their runner needs."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from executions import sealed_json
from executions.states import Lane, StepStatus
from executions.store.dialect import Answer, Row
from executions.store.moves import CLAIMABLE, IN_LINE, PENDING, START
from executions.store.rows import SUSPECT, Claimed, DoneStep, VariableRow
from executions.store.throttle import Throttle

CLAIM_COLUMNS = (
    "id, organization_id, project_id, automation_id, version_id, lane, attempt, claim, deaths, suspicion,"
    " time_limit_s, ran_ms, is_counted"
)

# The executions that a claim may take, worded like the partial index execution_due; suspects have their own index. One
# lane at a time: a search over both would read all executions that wait for a later time, perhaps millions.
DUE = f"FROM executions_execution WHERE {CLAIMABLE} AND suspicion < {SUSPECT} AND lane = {{lane}}"
CLAIMED_LANES = (Lane.SYNC.value, Lane.DIRECT.value)
SUSPECTS = f"{PENDING} AND suspicion >= {SUSPECT}"
STARTING = f"{START}, engine_id = %s, claim = claim + 1, rev = rev + 1, reason_code = '', reason = ''"


class Claims(Throttle):
    @abstractmethod
    def start_due(self, engine_id: uuid.UUID, limit: int, waited_s: float) -> Answer:
        """Start up to `limit` executions that have been due for `waited_s` seconds, sync lane first, then by due time.

        Answer rows of CLAIM_COLUMNS.
        """

    def may_claim(self, waited_s: float) -> bool:
        """Return whether a claim could find an execution: to look costs less than to claim nothing."""
        looks = [f"SELECT 1 {self.due(lane)}" for lane in CLAIMED_LANES]
        looks.append(f"SELECT 1 FROM executions_execution WHERE {IN_LINE}")
        any_due = " OR ".join(f"EXISTS ({look})" for look in looks)
        return bool(self.ask(f"SELECT {any_due}", [waited_s] * len(CLAIMED_LANES))()[0][0])

    def due(self, lane: int) -> str:
        """Return the end of a SELECT of a lane's executions that have been due for some seconds, its one parameter."""
        return f"{DUE.format(lane=lane)} AND run_at <= {self.due_ago}"

    def claim(self, engine_id: uuid.UUID, limit: int, waited_s: float = 0.0) -> list[Claimed]:
        """Take up to `limit` executions that have been due for `waited_s` seconds.

        Throttled executions whose start is allowed come on top, `limit` at most.
        """
        started, ready = self.start_due(engine_id, limit, waited_s), self.ready_organizations()
        return self.loaded(started() + self.claim_throttled(engine_id, ready(), limit))

    @abstractmethod
    def start_suspect(self, engine_id: uuid.UUID) -> Answer:
        """Start the suspect that has been due for longest, if there is one; answer rows of CLAIM_COLUMNS."""

    def claim_suspect(self, engine_id: uuid.UUID) -> list[Claimed]:
        """Take one suspect, which must run alone."""
        return self.loaded(self.start_suspect(engine_id)())

    def has_suspects(self) -> bool:
        return bool(self.ask(f"SELECT 1 FROM executions_execution WHERE {SUSPECTS} LIMIT 1")())

    def loaded(self, rows: list[Row]) -> list[Claimed]:
        """Return claimed rows as executions with their payloads, variables and durable step runs."""
        claimed = {row[0]: self._claimed(row) for row in rows}
        if claimed:
            ids = [execution.id for execution in claimed.values()]
            step_runs, variables = (
                self._step_runs(ids),
                self._variables({execution.project_id for execution in claimed.values()}),
            )
            rows = step_runs()
            bodies = self._large_payloads(rows)
            for row in rows:
                self._add_step_run(claimed[row[0]], row, bodies)
            by_project: dict[Any, list[VariableRow]] = {}
            for project_id, key, encrypted, is_secret in variables():
                by_project.setdefault(project_id, []).append((key, encrypted, bool(is_secret)))
            for execution in claimed.values():
                execution.variables = by_project.get(self.uid(execution.project_id), [])
        return list(claimed.values())

    def _claimed(self, row: Row) -> Claimed:
        return Claimed(
            id=self.to_uuid(row[0]), organization_id=self.known_uuid(row[1]), project_id=self.known_uuid(row[2]),
            automation_id=self.known_uuid(row[3]), version_id=self.known_uuid(row[4]), lane=Lane(row[5]),
            attempt=row[6], claim=row[7], deaths=row[8], suspicion=row[9], time_limit_s=row[10], ran_ms=row[11],
            is_counted=bool(row[12]),
        )  # fmt: skip

    def _step_runs(self, ids: list[uuid.UUID]) -> Answer:
        """Ask for the triggers' payloads, and for the durable step runs of executions that are resumed."""
        where, parameters = self.among("execution_id", ids)
        return self.ask_many(
            "execution_id, attempt, key, iteration, status, tries, error_code, resume_at,"
            " CASE WHEN attempt = 0 THEN input ELSE output END,"
            " CASE WHEN attempt = 0 THEN input_bytes ELSE output_bytes END",
            f"FROM executions_steprun WHERE {where}",
            parameters,
        )

    def _large_payloads(self, step_runs: list[Row]) -> dict[Row, str]:
        """Return the texts too large for their step run's row, by its key: a trigger's input, a step's output."""
        large = {row[0]: self.to_uuid(row[0]) for row in step_runs if row[9] > sealed_json.ROW_LIMIT}
        if not large:
            return {}
        where, parameters = self.among("execution_id", large.values())
        rows = self.ask(
            f"SELECT execution_id, attempt, key, iteration, body FROM executions_payload WHERE {where}"
            " AND side = CASE WHEN attempt = 0 THEN 'input' ELSE 'output' END",
            parameters,
        )
        return {tuple(row[:4]): row[4] for row in rows()}

    def _variables(self, project_ids: Iterable[uuid.UUID]) -> Answer:
        where, parameters = self.among("project_id", project_ids)
        return self.ask(
            f"SELECT project_id, key, encrypted, is_secret FROM projects_variable WHERE {where} ORDER BY key",
            parameters,
        )

    def _add_step_run(self, execution: Claimed, row: Row, bodies: dict[Row, str]) -> None:
        _, attempt, key, iteration, status, tries, error_code, resume_at, excerpt, _ = row
        text: str | None = bodies.get(tuple(row[:4]), excerpt)
        if attempt == 0:
            execution.payload = text or "null"
        elif attempt == execution.attempt:
            execution.done[key, iteration] = DoneStep(
                status=StepStatus(status), tries=tries, output=text, error_code=error_code,
                resume_at=self.to_time(resume_at),
            )  # fmt: skip

    def next_due(self) -> float | None:
        """Return the seconds until an execution may be claimed, 0 or less when one may be now; None when none waits."""
        first = f"(SELECT run_at {DUE} ORDER BY run_at LIMIT 1)"
        lanes = " UNION ALL ".join(f"SELECT {first.format(lane=lane)} AS run_at" for lane in CLAIMED_LANES)
        seconds = self.ask(f"SELECT {self.seconds_since('MIN(run_at)')} FROM ({lanes}) AS first")()[0][0]
        dues = [None if seconds is None else -float(seconds), self.next_throttled()]
        return min((due for due in dues if due is not None), default=None)

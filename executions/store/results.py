"""The statements for an engine's results: step runs, moves, usage, and replies for the callers who wait."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime

from executions import sealed_json
from executions.states import FINAL, Status, StepStatus, counts
from executions.stop import CANCELLED
from executions.store.clock import Clock
from executions.store.dialect import PAYLOAD_COLUMNS, STEP_COLUMNS, STEP_KEY, Row, upsert
from executions.store.moves import RUNNING
from executions.store.rows import Claimed, Move, ReplyRow, StepRecord
from projects.ids import day_of

OUTCOME_UNKNOWN = "The worker died during the step, so its outcome is unknown."
WAITED = "The execution was stopped while this step waited."

# What executions are counted by: organization, project, automation, day of acceptance (UTC), first final status.
type Used = tuple[uuid.UUID, uuid.UUID, uuid.UUID, date, int]


class Results(Clock):
    @abstractmethod
    def fenced(
        self, engine_id: uuid.UUID, executions: list[Claimed], *, waits: bool = True
    ) -> Callable[[], set[uuid.UUID]]:
        """Lock the executions; answer the ids of those that this engine still runs, with this claim.

        Without `waits` it locks nothing, and waits for nobody's lock.
        """

    @abstractmethod
    def locked(self, ids: set[uuid.UUID]) -> set[uuid.UUID]:
        """Return those of the executions whose rows somebody else has locked at this moment."""

    @abstractmethod
    def apply_moves(self, engine_id: uuid.UUID, moves: list[Move]) -> Callable[[], set[uuid.UUID]]:
        """Make each move by compare-and-set; answer the ids of the executions that this engine ran, with this claim."""

    def record(self, records: list[StepRecord]) -> None:
        """Store step runs and their large payloads; a repeated step run overwrites its row."""
        rows, payloads = [], []
        for record in records:
            rows.append(self._step_row(record))
            payloads += self._payload_rows(record)
        self.insert_many("executions_steprun", STEP_COLUMNS, rows, upsert(STEP_COLUMNS, STEP_KEY))
        ending = upsert(PAYLOAD_COLUMNS, PAYLOAD_COLUMNS[:5])
        self.insert_many("executions_payload", PAYLOAD_COLUMNS, payloads, ending)

    def _step_row(self, record: StepRecord) -> Row:
        execution = record.execution
        return (
            self.uid(execution.id), execution.attempt, record.key, record.iteration,
            self.uid(execution.organization_id), record.position, record.status.value, record.connector,
            record.action, record.title[:200], record.tries, self.at(record.started_at), self.at(record.finished_at),
            self.at(record.resume_at), _excerpt(record.input), len(record.input or ""), _excerpt(record.output),
            len(record.output or ""), record.error_code, record.error, record.is_external,
        )  # fmt: skip

    def _payload_rows(self, record: StepRecord) -> list[Row]:
        sides = (("input", record.input), ("output", record.output))
        large = [(side, text) for side, text in sides if text is not None and len(text) > sealed_json.ROW_LIMIT]
        if not large:
            return []
        execution = record.execution
        key = (self.uid(execution.id), execution.attempt, record.key, record.iteration)
        return [(*key, side, self.uid(execution.organization_id), text) for side, text in large]

    def write(self, engine_id: uuid.UUID, shard: int, records: list[StepRecord], moves: list[Move]) -> set[uuid.UUID]:
        """Store an engine's records and moves; return the executions that were no longer its own.

        Nothing of those executions is stored.
        """
        if any(move.resume_at for move in moves):
            self.follow_clock()
            ahead = self.time() - datetime.now(
                UTC
            )  # pauses last as long as they should, whatever this host's clock says
            moves = [move.resuming_later(ahead) for move in moves]
        # One order of locks, so that two engines cannot deadlock.
        moves = sorted(moves, key=lambda move: move.execution.id.int)
        recorded = {record.execution.id: record.execution for record in records}
        fenced, moved_ids = self.fenced(engine_id, list(recorded.values())), self.apply_moves(engine_id, moves)
        mine = fenced() | moved_ids()
        moved = [move for move in moves if move.execution.id in mine]
        unfinished = [record for record in records if record.execution.id in mine]
        unfinished += [record for move in moved if move.target not in FINAL for record in move.records]
        kept = unfinished + [record for move in moved if move.target in FINAL for record in move.records]
        self.record(list({(record.execution.id, record.key, record.iteration): record for record in kept}.values()))
        if stopped := [move for move in moved if move.closes_steps]:
            self.close_steps(move.execution.id for move in stopped)
        self.count(shard, moved)
        self.acquit(unfinished)
        if any(move.wakes_caller for move in moved) or any(record.is_reply for record in kept):
            self.notify_reply()
        return {*recorded, *(move.execution.id for move in moves)} - mine

    def close_steps(self, execution_ids: Iterable[uuid.UUID]) -> None:
        """End the steps that stopped executions leave open.

        One that waits for its next try has Failed; one that waits for a time, or whose worker died, is Rejected.
        """
        where, parameters = self.among("execution_id", execution_ids)
        failed, died = "error_code <> ''", f"status = {StepStatus.RUNNING.value}"
        self._run(
            f"UPDATE executions_steprun SET status = CASE WHEN {failed} THEN {StepStatus.FAILED.value}"
            f" ELSE {StepStatus.REJECTED.value} END, finished_at = {self.now}, resume_at = NULL,"
            f" error = CASE WHEN {failed} THEN error WHEN {died} THEN '{OUTCOME_UNKNOWN}' ELSE '{WAITED}' END,"
            f" error_code = CASE WHEN {failed} THEN error_code WHEN {died} THEN 'interrupted' ELSE '{CANCELLED}' END"
            f" WHERE {where} AND status IN ({StepStatus.RUNNING.value}, {StepStatus.PAUSED.value})",
            parameters,
        )

    def acquit(self, records: list[StepRecord]) -> None:
        """Clear the suspicion and the deaths of suspected executions that have made a step durable since."""
        done = {
            record.execution.id
            for record in records
            if record.status is not StepStatus.RUNNING and (record.execution.suspicion or record.execution.deaths)
        }
        if done:
            where, parameters = self.among("id", done)
            self._run(f"UPDATE executions_execution SET suspicion = 0, deaths = 0 WHERE {where}", parameters)

    def requests_to_stop(self, engine_id: uuid.UUID) -> Callable[[], list[Row]]:
        """Ask for the engine's executions that are to stop: id, claim, code and reason of each."""
        return self.ask(
            "SELECT id, claim, stop_code, stop_reason FROM executions_execution"
            f" WHERE {RUNNING} AND engine_id = %s AND stop_code IS NOT NULL",
            [self.uid(engine_id)],
        )

    def count(self, shard: int, moves: list[Move]) -> None:
        """Add executions to the usage of the day (UTC) on which they were accepted, each of them only once."""
        totals = Counter(
            (move.execution.organization_id, move.execution.project_id, move.execution.automation_id,
             day_of(move.execution.id), move.target.value)
            for move in moves
            if counts(target=move.target, is_counted=move.execution.is_counted)
        )  # fmt: skip
        self.add_usage(shard, totals)

    def add_usage(self, shard: int, totals: Mapping[Used, int]) -> None:
        columns = ("organization_id", "project_id", "automation_id", "day", "status", "shard", "count")
        rows = [
            (self.uid(org), self.uid(project), self.uid(automation), day.isoformat(), status, shard, total)
            for (org, project, automation, day, status), total in sorted(totals.items())
        ]
        self.insert_many(
            "projects_usageday", columns, rows,
            "ON CONFLICT (project_id, day, automation_id, status, shard)"
            " DO UPDATE SET count = projects_usageday.count + excluded.count",
        )  # fmt: skip

    def replies(self, waiting: Iterable[uuid.UUID]) -> dict[uuid.UUID, ReplyRow]:
        """Return the waiting callers' executions that have a reply, or have ended without one."""
        where, parameters = self.among("e.id", waiting)
        rows = self.ask(
            "SELECT e.id, e.status, COALESCE(p.body, s.output), e.reason_code FROM executions_execution e"
            " LEFT JOIN executions_steprun s ON s.execution_id = e.id AND s.attempt = e.attempt"
            " AND s.connector = 'response' AND s.status = 3"
            " LEFT JOIN executions_payload p ON s.output_bytes > %s AND p.execution_id = e.id"
            " AND p.attempt = s.attempt AND p.key = s.key AND p.iteration = s.iteration AND p.side = 'output'"
            f" WHERE {where} AND (s.status = 3 OR e.status IN ({', '.join(str(s.value) for s in sorted(FINAL))}))",
            [sealed_json.ROW_LIMIT, *parameters],
        )
        return {(found := self.to_uuid(row[0])): _reply(found, *row[1:]) for row in rows()}


def _reply(execution_id: uuid.UUID, status: int, text: str | None, code: str) -> ReplyRow:
    """Return one caller's answer; what cannot be read costs no other caller theirs."""
    try:
        return ReplyRow(sealed_json.opened(text, execution_id) if text else None, Status(status), code)
    except sealed_json.Unreadable as error:
        return ReplyRow(None, Status(status), code, str(error))


def _excerpt(text: str | None) -> str | None:
    return text if text is None or len(text) <= sealed_json.ROW_LIMIT else text[: sealed_json.EXCERPT]

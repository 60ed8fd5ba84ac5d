"""What both dialects share: the statements of the engine and the intake, and the rules they keep."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

from django.db import connection

from executions import encoding
from executions.states import FINAL, Lane, Status, StepStatus, counts
from executions.store.rows import Claimed, DoneStep, Move, NewExecution, ReplyRow, StepRecord
from projects.ids import made_at

STALE_AFTER_S = 10  # an engine that has not beaten for so long has lost its lease

EXECUTION_COLUMNS = (
    "id", "organization_id", "project_id", "automation_id", "version_id", "trigger_id", "kind", "status", "lane",
    "reason_code", "reason", "attempt", "claim", "deaths", "run_at", "time_limit_s", "ran_ms", "steps", "connectors",
    "is_counted", "rev",
)  # fmt: skip
STEP_COLUMNS = (
    "execution_id", "attempt", "key", "iteration", "organization_id", "position", "status", "connector", "action",
    "title", "tries", "started_at", "finished_at", "resume_at", "input", "input_bytes", "output", "output_bytes",
    "error_code", "error", "is_outside",
)  # fmt: skip
STEP_KEY = STEP_COLUMNS[:4]
PAYLOAD_COLUMNS = ("execution_id", "attempt", "key", "iteration", "side", "organization_id", "body")
CLAIM_COLUMNS = (
    "id, organization_id, project_id, automation_id, version_id, lane, attempt, claim, deaths, time_limit_s, ran_ms,"
    " is_counted"
)

type Row = tuple[Any, ...]


def upsert(table: str, columns: Sequence[str], key: Sequence[str]) -> str:
    """Return the end of an INSERT that overwrites the row with the same key."""
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in key)
    return f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"


class Store(ABC):
    """One instance a process; it holds no state."""

    now: str  # the database's clock, as SQL

    # --- values, as this dialect takes and gives them

    @abstractmethod
    def uid(self, value: uuid.UUID) -> Any: ...

    @abstractmethod
    def at(self, value: datetime | None) -> Any: ...

    def to_uuid(self, value: Any) -> uuid.UUID:
        return value if isinstance(value, uuid.UUID) else uuid.UUID(value)

    def to_time(self, value: Any) -> datetime | None:
        moment: datetime | None = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment

    # --- many rows at once

    @abstractmethod
    def insert_many(self, table: str, columns: Sequence[str], rows: list[Row], ending: str = "") -> None: ...

    @abstractmethod
    def among(self, column: str, ids: Iterable[uuid.UUID]) -> tuple[str, list[Any]]:
        """Return `column` being one of the ids, as SQL with its parameters."""

    # --- intake

    def reserve(self, organization_id: uuid.UUID, month: date, wanted: int) -> int:
        """Return how many of the wanted executions the month's hard limit leaves, and reserve them."""
        with connection.cursor() as cursor:
            if self._add_reserved(cursor, organization_id, month, wanted):
                return wanted
            left = min(wanted, self._left(cursor, organization_id, month))
            return left if left > 0 and self._add_reserved(cursor, organization_id, month, left) else 0

    def _add_reserved(self, cursor: Any, organization_id: uuid.UUID, month: date, amount: int) -> bool:
        """Reserve so many, or none where the limit is in the way or the month has no row yet."""
        cursor.execute(
            "UPDATE projects_usagemonth SET reserved = reserved + %s WHERE organization_id = %s AND month = %s"
            " AND NOT EXISTS (SELECT 1 FROM projects_organization WHERE uid = %s AND hard_limit < reserved + %s)",
            [amount, self.uid(organization_id), month, self.uid(organization_id), amount],
        )
        return bool(cursor.rowcount)

    def _left(self, cursor: Any, organization_id: uuid.UUID, month: date) -> int:
        """Make the month's row where it is missing, lock it and return what is left (a large number: no limit)."""
        cursor.execute(
            "INSERT INTO projects_usagemonth (organization_id, month, reserved, emails) VALUES (%s, %s, 0, 0)"
            " ON CONFLICT DO NOTHING",
            [self.uid(organization_id), month],
        )
        cursor.execute(
            "UPDATE projects_usagemonth SET reserved = reserved WHERE organization_id = %s AND month = %s"
            " RETURNING reserved",
            [self.uid(organization_id), month],
        )
        reserved = cursor.fetchone()[0]
        cursor.execute("SELECT hard_limit FROM projects_organization WHERE uid = %s", [self.uid(organization_id)])
        limit = cursor.fetchone()[0]
        return 2**31 if limit is None else max(0, int(limit) - int(reserved))

    def take_email(self, organization_id: uuid.UUID, month: date) -> bool:
        """Count one e-mail of the month; return False when the organization's maximum is reached."""
        with connection.cursor() as cursor:
            self._left(cursor, organization_id, month)
            cursor.execute(
                "UPDATE projects_usagemonth SET emails = emails + 1 WHERE organization_id = %s AND month = %s"
                " AND NOT EXISTS (SELECT 1 FROM projects_organization WHERE uid = %s AND email_limit <= emails)",
                [self.uid(organization_id), month, self.uid(organization_id)],
            )
            return bool(cursor.rowcount)

    def return_email(self, organization_id: uuid.UUID, month: date) -> None:
        """Give back one e-mail of the month that the mail server did not take."""
        self._run(
            "UPDATE projects_usagemonth SET emails = emails - 1"
            " WHERE organization_id = %s AND month = %s AND emails > 0",
            [self.uid(organization_id), month],
        )

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

    # --- the engine's lease

    def register(self, engine_id: uuid.UUID, host: str, boot_id: str, pid: int) -> None:
        self._run(
            "INSERT INTO executions_engine (id, host, boot_id, pid, started_at, beat_at, running, rss_kb, is_stopping)"
            f" VALUES (%s, %s, %s, %s, {self.now}, {self.now}, 0, 0, %s)",
            [self.uid(engine_id), host, boot_id, pid, False],
        )

    def beat(self, engine_id: uuid.UUID, *, running: int, rss_kb: int, is_stopping: bool) -> bool:
        """Renew the lease; return False when it was lost, and with it everything that the engine ran."""
        return bool(
            self._run(
                f"UPDATE executions_engine SET beat_at = {self.now}, running = %s, rss_kb = %s, is_stopping = %s"
                " WHERE id = %s",
                [running, rss_kb, is_stopping, self.uid(engine_id)],
            )
        )

    def peers(self, engine_id: uuid.UUID) -> list[tuple[uuid.UUID, str, str, int, bool]]:
        """Return the other engines as (id, host, boot id, pid, is stale)."""
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id, host, boot_id, pid, {self.is_stale} FROM executions_engine WHERE id <> %s",
                [self.uid(engine_id)],
            )
            return [(self.to_uuid(row[0]), row[1], row[2], row[3], bool(row[4])) for row in cursor.fetchall()]

    is_stale: str

    def bury(self, engine_id: uuid.UUID) -> int:
        """Give back all that a dead engine held and end its lease; return how many executions that were."""
        if not self._run("DELETE FROM executions_engine WHERE id = %s", [self.uid(engine_id)]):
            return 0  # another engine was faster
        return self._give_back(engine_id, "deaths = deaths + 1, ")

    def release(self, engine_id: uuid.UUID, keep: Iterable[uuid.UUID]) -> int:
        """Give back what the engine holds but does not run, as after a commit whose answer was lost."""
        kept, parameters = self.among("id", keep)
        return self._give_back(engine_id, "", f" AND NOT ({kept})", parameters)

    def unregister(self, engine_id: uuid.UUID) -> None:
        self._give_back(engine_id, "")
        self._run("DELETE FROM executions_engine WHERE id = %s", [self.uid(engine_id)])

    def _give_back(
        self, engine_id: uuid.UUID, changes: str, condition: str = "", parameters: Sequence[Any] = ()
    ) -> int:
        given = self._run(
            f"UPDATE executions_execution SET {changes}status = 0, engine_id = NULL, run_at = {self.now},"
            f" rev = rev + 1 WHERE status = 1 AND engine_id = %s{condition}",
            [self.uid(engine_id), *parameters],
        )
        if given:
            self.notify_work()
        return given

    # --- claim

    @abstractmethod
    def claim_rows(self, engine_id: uuid.UUID, limit: int) -> list[Row]:
        """Take the executions whose turn it is, sync lane first, then by due time; return CLAIM_COLUMNS."""

    def claim(self, engine_id: uuid.UUID, limit: int) -> list[Claimed]:
        claimed = {row[0]: self._claimed(row) for row in self.claim_rows(engine_id, limit)}
        if claimed:
            self._load_step_runs({execution.id: execution for execution in claimed.values()})
        return list(claimed.values())

    def _claimed(self, row: Row) -> Claimed:
        ids = [self.to_uuid(value) for value in row[:5]]
        return Claimed(
            id=ids[0], organization_id=ids[1], project_id=ids[2], automation_id=ids[3], version_id=ids[4],
            lane=Lane(row[5]), attempt=row[6], claim=row[7], deaths=row[8], time_limit_s=row[9], ran_ms=row[10],
            is_counted=bool(row[11]),
        )  # fmt: skip

    def _load_step_runs(self, claimed: dict[uuid.UUID, Claimed]) -> None:
        """Read the payloads, and what is durable already of those that are resumed."""
        where, parameters = self.among("s.execution_id", claimed)
        with connection.cursor() as cursor:
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

    def next_due(self) -> datetime | None:
        """Return when the earliest paused or delayed execution is due."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT MIN(run_at) FROM executions_execution WHERE status IN (0, 2) AND lane < 2")
            return self.to_time(cursor.fetchone()[0])

    # --- results

    @abstractmethod
    def fenced(self, engine_id: uuid.UUID, executions: list[Claimed]) -> set[uuid.UUID]:
        """Lock the executions and return those that are still this engine's, with this claim."""

    @abstractmethod
    def apply_moves(self, engine_id: uuid.UUID, moves: list[Move]) -> set[uuid.UUID]:
        """Do each move by compare-and-set; return the executions that it was still allowed for."""

    def record(self, records: list[StepRecord]) -> None:
        """Store step runs; a repeated one overwrites itself."""
        rows, payloads = [], []
        for record in records:
            rows.append(self._step_row(record))
            payloads += self._payload_rows(record)
        self.insert_many("executions_steprun", STEP_COLUMNS, rows, upsert("", STEP_COLUMNS, STEP_KEY))
        ending = upsert("", PAYLOAD_COLUMNS, PAYLOAD_COLUMNS[:5])
        self.insert_many("executions_payload", PAYLOAD_COLUMNS, payloads, ending)

    def _step_row(self, record: StepRecord) -> Row:
        execution = record.execution
        return (
            self.uid(execution.id), execution.attempt, record.key, record.iteration,
            self.uid(execution.organization_id), record.position, record.status.value, record.connector,
            record.action, record.title[:200], record.tries, self.at(record.started_at), self.at(record.finished_at),
            self.at(record.resume_at), _excerpt(record.input), len(record.input or ""), _excerpt(record.output),
            len(record.output or ""), record.error_code, record.error.replace("\0", "�"), record.is_outside,
        )  # fmt: skip

    def _payload_rows(self, record: StepRecord) -> list[Row]:
        execution = record.execution
        key = (self.uid(execution.id), execution.attempt, record.key, record.iteration)
        return [
            (*key, side, self.uid(execution.organization_id), text)
            for side, text in (("input", record.input), ("output", record.output))
            if text is not None and len(text) > encoding.ROW_LIMIT
        ]

    def write(self, engine_id: uuid.UUID, shard: int, records: list[StepRecord], moves: list[Move]) -> set[uuid.UUID]:
        """Store what the engine did, in one go; return the executions that were no longer its own."""
        touched = {execution.id: execution for execution in _executions_of(records, moves)}
        mine = self.fenced(engine_id, list(touched.values()))
        moved = [move for move in moves if move.execution.id in mine]
        kept = [record for record in records if record.execution.id in mine]
        kept += [record for move in moved for record in move.records]
        self.record(list({(record.execution.id, record.key, record.iteration): record for record in kept}.values()))
        self.apply_moves(engine_id, moved)
        self.count(shard, moved)
        if any(move.wakes_caller for move in moved) or any(record.is_reply for record in kept):
            self.notify_reply()
        return set(touched) - mine

    def count(self, shard: int, moves: list[Move]) -> None:
        """Add to the usage of the day on which each was accepted, once an execution."""
        totals = Counter(
            (move.execution.organization_id, move.execution.project_id, move.execution.automation_id,
             made_at(move.execution.id).date(), move.target.value)
            for move in moves
            if counts(target=move.target, is_counted=move.execution.is_counted)
        )  # fmt: skip
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

    # --- callers who wait

    def replies(self, waiting: Iterable[uuid.UUID]) -> dict[uuid.UUID, ReplyRow]:
        """Return what is known for callers who wait: a reply, or the end without one."""
        where, parameters = self.among("e.id", waiting)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT e.id, e.status, COALESCE(p.body, s.output) FROM executions_execution e"
                " LEFT JOIN executions_steprun s ON s.execution_id = e.id AND s.attempt = e.attempt"
                " AND s.connector = 'response' AND s.status = 3"
                " LEFT JOIN executions_payload p ON s.output_bytes > %s AND p.execution_id = e.id"
                " AND p.attempt = s.attempt AND p.key = s.key AND p.iteration = s.iteration AND p.side = 'output'"
                f" WHERE {where} AND (s.status = 3 OR e.status IN ({', '.join(str(s.value) for s in sorted(FINAL))}))",
                [encoding.ROW_LIMIT, *parameters],
            )
            return {
                self.to_uuid(row[0]): ReplyRow(encoding.loads_opened(row[2]) if row[2] else None, Status(row[1]))
                for row in cursor.fetchall()
            }

    # --- wake-up

    @abstractmethod
    def notify_work(self) -> None: ...

    @abstractmethod
    def notify_reply(self) -> None: ...

    def _run(self, sql: str, parameters: Sequence[Any]) -> int:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return int(cursor.rowcount)


def _executions_of(records: list[StepRecord], moves: list[Move]) -> Iterator[Claimed]:
    yield from (record.execution for record in records)
    yield from (move.execution for move in moves)


def _excerpt(text: str | None) -> str | None:
    return text if text is None or len(text) <= encoding.ROW_LIMIT else text[: encoding.EXCERPT]

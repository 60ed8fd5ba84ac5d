"""A log of any size, written fast: ten weeks of executions and receipts of two projects.

The executions that a filter of the log finds are as many at every size, enough to fill a page; only the others grow in
number. Step runs are left out, because the log reads none.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from django.core.management.color import no_style
from django.db import connection
from django.utils import timezone

from automations.models import Automation
from bench.seed import TRANSFORM
from executions.models import Execution, Outcome, Receipt, ReceiptDay, StepRun
from executions.states import FINAL, Lane, Status
from executions.store import partitions
from harness.factory import make_automation
from projects.models import Organization, Project

WEEKS = 10
PAGES = 60  # rows of each rare kind: more than a page of the log
SHARE = {Status.SUCCESS: 92, Status.FAILED: 5, Status.REJECTED: 1.5, Status.PARTIALLY_EXECUTED: 1.5}
REASONS = {
    Status.FAILED: ("http_503", "Step “Call the API” failed: The server answered with status 503."),
    Status.REJECTED: ("time_limit", "The execution exceeded its allotted time of 300 s in step “Call the API”."),
    Status.PARTIALLY_EXECUTED: ("email_limit", "The organization has reached its monthly e-mail maximum."),
    Status.PAUSED: ("waiting", "Waits in “Wait”."),
}
EXECUTION_COLUMNS = (
    "id", "run_at", "started_at", "finished_at", "organization_id", "project_id", "automation_id", "version_id",
    "trigger_id", "kind", "status", "lane", "reason_code", "reason", "attempt", "claim", "deaths", "suspicion",
    "time_limit_s", "ran_ms", "steps", "connectors", "is_counted", "rev",
)  # fmt: skip
RECEIPT_COLUMNS = (
    "id", "organization_id", "project_id", "automation_id", "trigger_id", "outcome", "http_status", "code", "reason",
)  # fmt: skip

type Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """The automations: `busy`, `steady` and `rare` (once a day) in the measured project, and `other` in another."""

    busy: Automation
    steady: Automation
    rare: Automation
    other: Automation

    @property
    def all(self) -> tuple[Automation, ...]:
        return self.busy, self.steady, self.rare, self.other

    @property
    def project(self) -> Project:
        return self.busy.project


def cast() -> Cast:
    organization = Organization.objects.create(name="Bench", direct_limit=None)
    measured = Project.objects.create(organization=organization, name="Measured")
    other = Project.objects.create(organization=organization, name="Other")
    names = {"Busy": measured, "Steady": measured, "Rare": measured, "Other": other}
    return Cast(*(make_automation(project, name, [TRANSFORM]) for name, project in names.items()))


def make_past_weeks() -> None:
    """Make the partitions that an installation has after ten weeks, in place of the empty first one."""
    if not partitions.are_used():
        return
    before = next(part for part in partitions.partitions_of("executions_execution") if part.start is None)
    partitions.drop(before, partitions.PARTITIONED)
    now = timezone.now()
    for weeks in range(WEEKS, -1, -1):
        partitions.make_weeks(now - timedelta(weeks=weeks))


def fill(actors: Cast, count: int) -> None:
    """Replace all executions by this many, and all receipts by a quarter as many."""
    tables = [model._meta.db_table for model in (Execution, StepRun, Receipt, ReceiptDay)]
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables))
    now = timezone.now()
    _store(Execution._meta.db_table, EXECUTION_COLUMNS, _executions(actors, count, now))
    _store(Receipt._meta.db_table, RECEIPT_COLUMNS, _receipts(actors, count // 4, now))
    _days(actors, now)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE")
        else:
            cursor.execute("ANALYZE")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _ids(count: int, now: datetime) -> Iterator[tuple[str, int]]:
    """Return ids in order, spread over the weeks, with their milliseconds."""
    drawn = random.Random(count)
    first, span = (int(part / timedelta(milliseconds=1)) for part in _span(now))
    for number in range(count):
        at = first + span * number // count
        yield f"{at:012x}7{number & 0xFFF:03x}{1 << 63 | drawn.getrandbits(62):016x}", at


def _span(now: datetime) -> tuple[timedelta, timedelta]:
    length = timedelta(weeks=WEEKS)
    return now - length - datetime(1970, 1, 1, tzinfo=UTC), length


def _executions(actors: Cast, count: int, now: datetime) -> Iterator[Row]:
    drawn = random.Random(1)
    automations = drawn.choices([actors.busy, actors.steady, actors.other], [45, 15, 40], k=9973)
    statuses = drawn.choices(list(SHARE), list(SHARE.values()), k=10_007)
    special = _special(actors, count)
    ends = {(actor, status): _end(actor, status) for actor in actors.all for status in Status}
    for number, (identifier, at) in enumerate(_ids(count, now)):
        actor, status = special.get(number) or (automations[number % 9973], statuses[number % 10_007])
        accepted, started, finished = _time(at), _time(at + 6), _time(at + 6 + number % 900)
        is_final, is_new = status in FINAL, status is Status.PENDING
        yield (identifier, accepted, None if is_new else started, finished if is_final else None, *ends[actor, status])


def _special(actors: Cast, count: int) -> dict[int, tuple[Automation, Status]]:
    """Return the executions whose number is the same at every size: open ones, and one a day of `rare`."""
    found = {}
    for number in range(PAGES):
        found[count - 1 - 3 * number] = (actors.busy, Status.PENDING)
        found[count - 2 - 3 * number] = (actors.busy, Status.RUNNING)
        found[count - 3 - count // 7 * number // PAGES - 3 * PAGES] = (actors.steady, Status.PAUSED)
    for day in range(7 * WEEKS):
        status = Status.FAILED if day % 10 == 0 else Status.SUCCESS
        found[day * count // (7 * WEEKS)] = (actors.rare, status)
    return found


def _end(actor: Automation, status: Status) -> Row:
    """Return the columns that all executions of an automation in one status share."""
    assert actor.trigger is not None and actor.live_version is not None
    code, reason = REASONS.get(status, ("", ""))
    is_begun = int(status is not Status.PENDING)
    return (
        actor.organization_id.hex, actor.project_id.hex, actor.pk.hex, actor.live_version.pk.hex, actor.trigger.uid, 0,
        int(status), int(Lane.DIRECT), code, reason, 1, is_begun, 0, 0, 300, 0, 2 * is_begun,
        "transform,http" * is_begun, int(status in FINAL), 1 + is_begun,
    )  # fmt: skip


def _receipts(actors: Cast, count: int, now: datetime) -> Iterator[Row]:
    """Return duplicates, one refusal in fifty, and no request whose conditions were not met."""
    owners = [_owner(actor) for actor in (actors.other, actors.busy, actors.busy)]
    duplicate: Row = (Outcome.DUPLICATE.value, 202, "duplicate", "")
    refused: Row = (Outcome.REFUSED.value, 400, "invalid_json", "The body is empty.")
    for number, (identifier, _) in enumerate(_ids(count, now)):
        yield (identifier, *owners[number % 3], *(duplicate if number % 50 else refused))


def _owner(actor: Automation) -> Row:
    assert actor.trigger is not None
    return actor.organization_id.hex, actor.project_id.hex, actor.pk.hex, actor.trigger.uid


def _days(actors: Cast, now: datetime) -> None:
    """Write the counters of the requests' page; their number depends on the days, not on the requests."""
    days = [now.date() - timedelta(days=number) for number in range(7 * WEEKS)]
    for actor in (actors.busy, actors.other):
        owner = {"organization_id": actor.organization_id, "automation": actor}
        ReceiptDay.objects.bulk_create(
            ReceiptDay(**owner, day=day, outcome=outcome, shard=shard, count=9)
            for day in days
            for outcome in Outcome
            for shard in range(4)
        )


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _store(table: str, columns: Sequence[str], rows: Iterator[Row]) -> None:
    names = ", ".join(columns)
    first = next(rows)  # makes the look-ups that it needs before COPY holds the connection
    rows = chain([first], rows)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write("\t".join("\\N" if value is None else str(value) for value in row) + "\n")
        else:
            cursor.execute("BEGIN")
            marks = ", ".join(["?"] * len(columns))
            cursor.connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
            cursor.execute("COMMIT")

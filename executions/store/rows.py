"""The records that the store takes and returns."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from connectors.sdk.call import JSON
from executions.states import Lane, Status, StepStatus, check_move
from executions.stop import Stop, stop_of
from executions.store.shares import FIRST, NO_BOUND

type VariableRow = tuple[str, str, bool]  # key, encrypted value, is secret

LARGE = 64 * 1024  # characters of a stored text that a claim does not load
SUSPECT = 2  # suspicion that makes a suspect: unexplained deaths in common with other executions
ALONE = 4  # suspicion from which a suspect runs alone
COMPANY = {SUSPECT: 64, 3: 8}  # suspects of one suspicion that begin together; from ALONE on it is one


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryId:
    """A sender's id of a delivery; within the organization's window it makes one execution."""

    key: str
    fingerprint: str  # SHA-256 of method, query and body
    must_match: bool  # whether different content under the same id is the sender's error, not a repetition
    starts_again: bool = False  # a repetition starts a new execution where the first one's cannot be retried


@dataclass(frozen=True, slots=True)
class First:
    """What has become of a delivery's execution."""

    status: Status
    reason_code: str
    lane: Lane
    attempt: int


@dataclass(slots=True, kw_only=True)
class NewExecution:
    """An execution to accept, with its trigger's payload as JSON text."""

    id: uuid.UUID
    organization_id: uuid.UUID
    project_id: uuid.UUID
    automation_id: uuid.UUID
    version_id: uuid.UUID
    live_rev: int  # the revision of the automation that the request was checked against
    trigger_uid: str
    lane: Lane
    time_limit_s: int
    connector: str
    event: str
    title: str
    payload: str
    delivery: DeliveryId | None = None
    run_at: datetime | None = None  # on the database's clock, from `accept` on
    is_due: bool = True  # False: it waits for run_at
    reason_code: str = ""
    reason: str = ""

    def accept(self, live: LiveRow) -> None:
        """Shorten the time limit to the organization's, and take the start from the database's clock.

        The id holds this machine's time: one that is ahead would make its executions wait, one that is behind would
        let them overtake others in line.
        """
        self.time_limit_s = min(self.time_limit_s, live.time_limit_s)
        self.run_at = live.now

    def start_at(self, minute: datetime | None, limit: int) -> None:
        """Postpone the start to a minute in which the organization has a direct start left; None: this minute has."""
        if minute is not None:
            self.run_at, self.is_due = minute, False
            self.reason_code = "direct_limit"
            self.reason = direct_limit_reason(limit)


def direct_limit_reason(limit: int) -> str:
    return f"The organization has used up its {limit:,} direct starts of this minute."


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReceipt:
    """The receipt of a request that made no execution."""

    id: uuid.UUID
    organization_id: uuid.UUID
    project_id: uuid.UUID
    automation_id: uuid.UUID
    trigger_uid: str
    outcome: str
    http_status: int
    code: str
    reason: str
    execution_id: uuid.UUID | None = None
    is_written: bool = True  # False: the request is only counted


@dataclass(frozen=True, slots=True)
class LiveRow:
    """The state of an automation and its organization by which the accepting transaction decides."""

    now: datetime  # on the database's clock
    live_rev: int
    direct_limit: int | None
    duplicates_h: int
    time_limit_s: int

    @property
    def forgets_at(self) -> datetime:
        """Return when a delivery that comes now is forgotten, on the database's clock."""
        return self.now + timedelta(hours=self.duplicates_h)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an engine asks for with a claim."""

    limit: int  # executions at most; throttled ones come on top, as many at most
    waited_s: float = 0.0  # seconds that they must have been due
    held: Mapping[uuid.UUID, int] = field(default_factory=dict)  # the engine's slots, by organization
    most: int = NO_BOUND  # slots that an organization may have after the claim


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the executions that wait has found, all of it bounded however many there are."""

    organizations: list[Any]  # those with due executions, as the database gives their ids
    is_cut: bool  # more organizations may have some: the next look goes on behind the last of these
    has_line: bool  # a throttled execution waits
    later_in_s: float | None  # seconds until the next one that waits for a time is due; None: none does


@dataclass(slots=True)
class Claim:
    """The result of a claim."""

    executions: list[Claimed] = field(default_factory=list)
    has_more: bool = False  # further executions may be due: the claim was too small for them
    turn_of: uuid.UUID = FIRST  # the organization behind which the next look begins
    next_in_s: float | None = None  # seconds until an execution is due that was not yet; None: none is


@dataclass(frozen=True, slots=True)
class Unloaded:
    """A stored text of more than LARGE characters: it is read once there is memory for it."""

    characters: int


@dataclass(slots=True, kw_only=True)
class DoneStep:
    """A durable step run of a resumed execution."""

    status: StepStatus
    tries: int
    output: str | Unloaded | None  # sealed JSON text
    error_code: str
    resume_at: datetime | None


@dataclass(slots=True, kw_only=True)
class Claimed:
    """An execution that this engine now runs. `claim` is its fencing token."""

    id: uuid.UUID
    organization_id: uuid.UUID
    project_id: uuid.UUID
    automation_id: uuid.UUID
    version_id: uuid.UUID
    lane: Lane
    attempt: int
    claim: int
    deaths: int
    suspicion: int
    time_limit_s: int
    ran_ms: int
    is_counted: bool
    stop: Stop | None = None  # a request to stop it; the database thread sets it while the execution runs
    payload: str | Unloaded = "null"
    variables: list[VariableRow] = field(default_factory=list)  # of the project, ordered by key
    done: dict[tuple[str, str], DoneStep] = field(default_factory=dict)  # by step key and iteration

    def note_held(self, claim: int, stop_code: str | None, stop_reason: str | None) -> bool:
        """Take a request to stop from the row, if the row still has this claim; return whether it has."""
        if claim != self.claim:
            return False
        self.stop = stop_of(stop_code, stop_reason)
        return True

    @property
    def is_suspect(self) -> bool:
        """Return whether the execution runs in the quarantine until its next durable step."""
        return self.suspicion >= SUSPECT

    def acquit(self) -> None:
        """Clear the suspicion and the deaths: a step is durable."""
        self.deaths = self.suspicion = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """Another engine and the state of its lease."""

    id: uuid.UUID
    host: str
    boot_id: str
    pid: int
    is_stale: bool
    is_quarantine: bool = False  # it runs suspects only


@dataclass(frozen=True, slots=True)
class HeldExecution:
    """An execution that was Running on a dead engine."""

    id: uuid.UUID
    suspicion: int
    deaths: int


@dataclass(slots=True, kw_only=True)
class StepRecord:
    """A step run to store, its input and output as sealed JSON text."""

    execution: Claimed
    key: str
    iteration: str
    position: int  # the step's place in the definition, from 1
    status: StepStatus
    connector: str
    action: str
    title: str
    tries: int
    started_at: datetime
    finished_at: datetime | None
    input: str | None
    output: str | None
    error_code: str = ""
    error: str = ""
    is_external: bool = False  # the cause of the error lies in another service
    resume_at: datetime | None = None  # when a paused step goes on
    is_reply: bool = False  # a caller waits for the output


@dataclass(slots=True, kw_only=True)
class Move:
    """A compare-and-set out of Running; the same transaction stores `records`.

    `when_stored` is called, in any thread, once nobody needs them any more.
    """

    execution: Claimed
    target: Status
    reason_code: str = ""
    reason: str = ""
    ran_ms: int = 0
    resume_at: datetime | None = None
    steps: int = 0
    connectors: str = ""
    wakes_caller: bool = False
    closes_steps: bool = False  # its step that waits ends with it
    records: list[StepRecord] = field(default_factory=list)
    when_stored: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        check_move(Status.RUNNING, self.target)

    def resuming_later(self, by: timedelta) -> Move:
        """Return this move with its moments of resuming put off; one that does not pause is returned as it is."""
        if self.resume_at is None:
            return self
        records = [replace(one, resume_at=one.resume_at and one.resume_at + by) for one in self.records]
        return replace(self, resume_at=self.resume_at + by, records=records)


@dataclass(frozen=True, slots=True)
class ReplyRow:
    """The answer for a waiting caller: the Response step's output, or None and the status of an end without one.

    `unreadable` says why a reply that is stored cannot be read back, as the end of a sentence.
    """

    output: JSON
    status: Status
    reason_code: str = ""
    unreadable: str = ""

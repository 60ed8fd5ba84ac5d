"""Claiming: the executions that an engine runs next, loaded with all that their runner needs."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from executions import sealed_json
from executions.states import Lane, StepStatus
from executions.stop import stop_of
from executions.store.dialect import Answer, Row
from executions.store.moves import CLAIMABLE, PENDING, START
from executions.store.rows import (
    COMPANY,
    LARGE,
    SUSPECT,
    Claim,
    Claimed,
    DoneStep,
    Look,
    Unloaded,
    VariableRow,
    Wanted,
)
from executions.store.shares import FIRST, ORGANIZATIONS_A_CLAIM, divide
from executions.store.throttle import LINE, Throttle

CLAIM_COLUMNS = (
    "id, organization_id, project_id, automation_id, version_id, lane, attempt, claim, deaths, suspicion,"
    " time_limit_s, ran_ms, is_counted, stop_code, stop_reason"
)

# The executions that a claim may take, worded like the partial index execution_share; suspects have their own index.
# One organization and one lane at a time: a search over more would read all that wait, perhaps millions.
DUE = (
    f"FROM executions_execution WHERE {CLAIMABLE} AND {{is_due}} AND suspicion < {SUSPECT}"
    " AND organization_id = {owner} AND lane = {lane} AND run_at <= {due_ago}"
)
LANES = tuple(Lane)  # by number
CLAIMED_LANES = (Lane.SYNC.value, Lane.DIRECT.value)
SUSPECTS = f"{PENDING} AND suspicion >= {SUSPECT}"
# Of a step run: what an engine reads of it, the trigger's payload or a step's output.
TEXT = "CASE WHEN s.attempt = 0 THEN s.input ELSE s.output END"
SIZE = "CASE WHEN s.attempt = 0 THEN s.input_bytes ELSE s.output_bytes END"
STARTING = f"{START}, engine_id = %s, claim = claim + 1, rev = rev + 1, reason_code = '', reason = ''"
FURTHER_LOOKS = 20  # looks of one claim for an organization that may have more slots, so 1,000 organizations
RIPE_AT_ONCE = 500  # executions whose time has come that one claim makes due


class Claims(Throttle):
    # --- what waits

    def look(self, after: uuid.UUID = FIRST, waited_s: float = 0.0) -> Callable[[], Look]:
        """Look which organizations have due executions, those after `after` first, and what else waits.

        With `waited_s` the executions must have been due for so many seconds. The look searches the index once for each
        organization, up to ORGANIZATIONS_A_CLAIM of them.
        """
        if waited_s:
            rows = self.ask(self._patient_look, [self.uid(after), waited_s, waited_s])
        else:
            rows = self.ask(self._first_look, [self.uid(after)])
        return lambda: self._looked(after, waited_s, rows())

    @cached_property
    def _first_look(self) -> str:
        # Without a condition on run_at, which would be tried on each row of an organization that has none.
        return self._look_with("")

    @cached_property
    def _patient_look(self) -> str:
        return self._look_with(f" AND run_at <= {self.due_ago}")

    def _look_with(self, condition: str) -> str:
        waits = f"FROM executions_execution WHERE {CLAIMABLE} AND {self.is_due} AND organization_id >"
        following = f"(SELECT organization_id {waits} {{}}{condition} ORDER BY organization_id LIMIT 1)"
        return (
            f"WITH RECURSIVE waiting (organization_id, n) AS (SELECT {following.format('%s')}, 1 UNION ALL"
            f" SELECT {following.format('waiting.organization_id')}, n + 1 FROM waiting"
            f" WHERE waiting.organization_id IS NOT NULL AND n < {ORGANIZATIONS_A_CLAIM})"
            f" SELECT organization_id, (SELECT EXISTS (SELECT 1 {LINE})), ({self._later_in()}) FROM waiting"
        )

    def _looked(self, after: uuid.UUID, waited_s: float, rows: list[Row]) -> Look:
        found = [row[0] for row in rows if row[0] is not None]
        is_cut = len(found) == ORGANIZATIONS_A_CLAIM
        if after != FIRST and not is_cut:  # the turn begins anew with the first ones
            first = self.look(FIRST, waited_s)()
            found += [one for one in first.organizations if one not in found][: ORGANIZATIONS_A_CLAIM - len(found)]
            is_cut = first.is_cut
        return Look(found, is_cut, bool(rows[0][1]), None if rows[0][2] is None else -float(rows[0][2]))

    def further(self, look: Look, wanted: Wanted) -> Look:
        """Return this look or, while all that it has found hold as many slots as they may, the next one."""
        for _ in range(FURTHER_LOOKS):
            if not look.is_cut or self.may_find(look, wanted):
                break
            look = self.look(self.to_uuid(look.organizations[-1]), wanted.waited_s)()
        return look

    def may_find(self, look: Look, wanted: Wanted) -> bool:
        """Return whether a claim may find an execution after this look."""
        held, most = wanted.held, wanted.most
        return (
            look.has_line
            or (look.later_in_s is not None and look.later_in_s <= 0)
            or any(held.get(self.known_uuid(organization), 0) < most for organization in look.organizations)
        )

    def _later_in(self) -> str:
        """Return a SELECT of the seconds since the next execution that waits for a time was due, so less than none."""
        first = f"SELECT run_at FROM executions_execution WHERE {CLAIMABLE} AND {self.is_not_due} AND lane = {{}}"
        lanes = " UNION ALL ".join(
            f"SELECT ({first.format(lane)} ORDER BY run_at LIMIT 1) AS run_at" for lane in CLAIMED_LANES
        )
        return f"SELECT {self.seconds_since('MIN(run_at)')} FROM ({lanes}) AS later"

    @abstractmethod
    def ripen(self) -> int:
        """Make those due that have waited for a time which has come, RIPE_AT_ONCE at most; return their number."""

    def ripe(self) -> str:
        """Return a SELECT of the ids of those."""
        first = f"SELECT id FROM executions_execution WHERE {CLAIMABLE} AND {self.is_not_due} AND run_at <= {self.now}"
        most = f"ORDER BY run_at LIMIT {RIPE_AT_ONCE}"
        lanes = " UNION ALL ".join(
            f"SELECT id FROM ({first} AND lane = {lane} {most} {self.skip_locked}) AS lane" for lane in CLAIMED_LANES
        )
        return f"{lanes} LIMIT {RIPE_AT_ONCE}"

    def due(self, owner: str, lane: int) -> str:
        """Return the end of a SELECT of an organization's executions in a lane that have been due for some seconds.

        `owner` is the organization's id as SQL, the seconds are the last parameter.
        """
        return DUE.format(is_due=self.is_due, owner=owner, lane=lane, due_ago=self.due_ago)

    # --- claiming

    @abstractmethod
    def start_due(self, engine_id: uuid.UUID, quotas: Mapping[Any, int], waited_s: float) -> Answer:
        """Start executions that have been due for `waited_s` seconds, of each organization as many as its quota says.

        Of one organization the sync lane comes first, then the due time. Answer rows of CLAIM_COLUMNS.
        """

    def claim(self, engine_id: uuid.UUID, wanted: Wanted, look: Look | None = None) -> Claim:
        """Take due executions, divided among their organizations, and on top throttled ones whose start is allowed.

        `look` is a look from before, where there was one.
        """
        look = self.further(look or self.look(FIRST, wanted.waited_s)(), wanted)
        claim = Claim(has_more=look.is_cut)
        if look.later_in_s is not None and look.later_in_s <= 0 and (ripened := self.ripen()):
            look = self.look(FIRST, wanted.waited_s)()
            claim.has_more = look.is_cut or ripened == RIPE_AT_ONCE
        held = Counter({self.uid(organization): slots for organization, slots in wanted.held.items()})
        rows = self._start_shares(engine_id, wanted, look, held, claim)
        claim.next_in_s = look.later_in_s
        if look.has_line:
            rows += self.claim_throttled(engine_id, self.ready_organizations()(), held, wanted)
            nexts = (look.later_in_s, self.next_throttled())
            claim.next_in_s = min((seconds for seconds in nexts if seconds is not None), default=None)
        claim.executions = self.loaded(rows)
        return claim

    def _start_shares(
        self, engine_id: uuid.UUID, wanted: Wanted, look: Look, held: Counter[Any], claim: Claim
    ) -> list[Row]:
        """Start executions until the limit is reached or none is due; return their rows.

        What organizations with few executions leave of their quotas goes to the others, in a second round. The turn
        of the next claim begins behind the last organization that got one of these starts, if there were too few.
        """
        rows: list[Row] = []
        waiting = look.organizations
        for _ in range(2):
            quotas = divide(waiting, held, wanted.limit - len(rows), wanted.most)
            if not quotas:
                break
            if look.is_cut or len(quotas) < len(waiting):
                claim.turn_of = self.to_uuid([one for one in waiting if one in quotas][-1])
            started = self.start_due(engine_id, quotas, wanted.waited_s)()
            counts = Counter(row[1] for row in started)
            held.update(counts)
            rows += started
            waiting = [one for one in waiting if counts[one] == quotas.get(one, 0)]
        claim.has_more |= bool(waiting)
        return rows

    @abstractmethod
    def start_suspects(self, engine_id: uuid.UUID, ids: list[Any]) -> Answer:
        """Start those of these executions that are still suspects which wait; answer rows of CLAIM_COLUMNS."""

    def claim_suspects(self, engine_id: uuid.UUID, after: uuid.UUID) -> Claim:
        """Take a company of suspects: those that may begin together (COMPANY), divided among their organizations.

        It is the turn of the organization behind `after`; its first suspect gives the company's suspicion.
        """
        head = self.ask(
            f"SELECT organization_id, suspicion FROM executions_execution WHERE {SUSPECTS}"
            " ORDER BY organization_id <= %s, organization_id, run_at LIMIT 1",
            [self.uid(after)],
        )()
        if not head:
            return Claim()
        organization_id, suspicion = head[0]
        alike = (
            "SELECT id, organization_id, run_at,"
            " ROW_NUMBER() OVER (PARTITION BY organization_id ORDER BY run_at) AS place"
            f" FROM executions_execution WHERE {SUSPECTS} AND suspicion = %s"
        )
        company = self.ask(
            f"SELECT id FROM ({alike}) AS alike ORDER BY place, organization_id <> %s, run_at LIMIT %s",
            [suspicion, organization_id, COMPANY.get(suspicion, 1)],
        )
        started = self.start_suspects(engine_id, [row[0] for row in company()])()
        return Claim(self.loaded(started), turn_of=self.to_uuid(organization_id))

    def has_suspects(self) -> bool:
        return bool(self.ask(f"SELECT 1 FROM executions_execution WHERE {SUSPECTS} LIMIT 1")())

    def loaded(self, rows: list[Row]) -> list[Claimed]:
        """Return claimed rows as executions with their payloads, variables and durable step runs."""
        claimed = {row[0]: self._claimed(row) for row in rows}
        if claimed:
            ids = [execution.id for execution in claimed.values()]
            projects = {execution.project_id for execution in claimed.values()}
            step_runs, variables = self._step_runs(ids), self._variables(projects)
            for row in step_runs():
                self._add_step_run(claimed[row[0]], row)
            by_project: dict[uuid.UUID, list[VariableRow]] = {project_id: [] for project_id in projects}
            for project_id, key, encrypted, is_secret in variables():
                by_project[self.known_uuid(project_id)].append((key, encrypted, bool(is_secret)))
            for execution in claimed.values():
                execution.variables = by_project[execution.project_id]
        return list(claimed.values())

    def _claimed(self, row: Row) -> Claimed:
        return Claimed(
            id=self.to_uuid(row[0]), organization_id=self.known_uuid(row[1]), project_id=self.known_uuid(row[2]),
            automation_id=self.known_uuid(row[3]), version_id=self.known_uuid(row[4]), lane=LANES[row[5]],
            attempt=row[6], claim=row[7], deaths=row[8], suspicion=row[9], time_limit_s=row[10], ran_ms=row[11],
            is_counted=bool(row[12]), stop=stop_of(row[13], row[14]),
        )  # fmt: skip

    def _step_runs(self, ids: list[uuid.UUID]) -> Answer:
        """Ask for the triggers' payloads, and for the durable step runs of executions that are resumed."""
        where, parameters = self.among("execution_id", ids)
        return self.ask_many(
            "execution_id, attempt, key, iteration, status, tries, error_code, resume_at,"
            f" CASE WHEN {SIZE} > {LARGE} THEN NULL ELSE {TEXT} END, {SIZE}",
            f"FROM executions_steprun s WHERE {where}",
            parameters,
        )

    def large_text(self, execution_id: uuid.UUID, attempt: int, key: str) -> str:
        """Return a text that a claim has not loaded: a step's output or, of attempt 0, the trigger's payload."""
        rows = self.ask(
            f"SELECT COALESCE(p.body, {TEXT}) FROM executions_steprun s LEFT JOIN executions_payload p"
            f" ON {SIZE} > {sealed_json.ROW_LIMIT} AND p.execution_id = s.execution_id AND p.attempt = s.attempt"
            " AND p.key = s.key AND p.iteration = s.iteration"
            " AND p.side = CASE WHEN s.attempt = 0 THEN 'input' ELSE 'output' END"
            " WHERE s.execution_id = %s AND s.attempt = %s AND s.key = %s AND s.iteration = ''",
            [self.uid(execution_id), attempt, key],
        )()
        return str(rows[0][0]) if rows else ""

    def _variables(self, project_ids: Iterable[uuid.UUID]) -> Answer:
        where, parameters = self.among("project_id", project_ids)
        return self.ask(
            f"SELECT project_id, key, encrypted, is_secret FROM projects_variable WHERE {where} ORDER BY key",
            parameters,
        )

    def _add_step_run(self, execution: Claimed, row: Row) -> None:
        _, attempt, key, iteration, status, tries, error_code, resume_at, text, size = row
        if size > LARGE:
            text = Unloaded(size)
        if attempt == 0:
            execution.payload = text or "null"
        elif attempt == execution.attempt:
            execution.done[key, iteration] = DoneStep(
                status=StepStatus(status), tries=tries, output=text, error_code=error_code,
                resume_at=self.to_time(resume_at),
            )  # fmt: skip

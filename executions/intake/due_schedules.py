"""Start due schedules: one transaction takes some, makes an execution for each fire time and sets the next one."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime

from connectors.schedule.fire_times import ON_TIME, counts_elapsed_time, due_fire_times, next_fire_time, output
from connectors.schedule.rule import CATCH_UP_LIMIT, Rule
from connectors.sdk.budget import OverBudget, TooLarge, budget
from connectors.sdk.call import JSON
from connectors.sdk.conditions import Group, judge
from executions.intake.acceptance import Stale, receipt_for, write
from executions.intake.live_trigger import LiveTrigger, new_execution, read_trigger
from executions.models import Outcome
from executions.store import errors, store
from executions.store.clock import TO_FIND
from executions.store.rows import NewExecution, NewReceipt

logger = logging.getLogger(__name__)

SCHEDULES_A_ROUND = 50
EXECUTIONS_A_ROUND = 1000  # take a quarter of a second, in which the engine cannot renew its lease
AFTER_AN_ERROR_S = 60.0  # seconds for which an engine leaves a schedule that it cannot start to the others
LATE = {
    "once": "One execution replaced them all",
    "all": f"Each was started later, at most the latest {CATCH_UP_LIMIT}",
    "none": "They were skipped",
}


@dataclass(slots=True)
class Fired:
    """The executions and receipts that one schedule makes now, and its next fire time; None: it never fires again."""

    executions: list[tuple[datetime, NewExecution]] = field(default_factory=list)
    receipts: list[NewReceipt] = field(default_factory=list)
    next_at: datetime | None = None


class DueSchedules:
    """Starts schedules for one engine; a schedule that it cannot start stays due, for the other engines."""

    def __init__(self) -> None:
        self.left_alone: dict[str, float] = {}  # failed schedules' triggers, until when by time.monotonic
        self.single_rounds = 0  # rounds to come that take one schedule each, after a round that failed

    def start_due(self) -> float | None:
        """Start one round of due schedules, in the engine's database thread; return the seconds to the next one.

        None: there is no schedule. 0: more are due already, but beats and claims share the thread and come first.
        """
        self.left_alone = {uid: until for uid, until in self.left_alone.items() if until > time.monotonic()}
        due_in = store().next_schedule(self.left_alone)
        if due_in is None or due_in > 0:
            return due_in
        try:
            taken = self._round()
        except Stale:  # an automation has changed meanwhile; the next round reads it again
            return 0.1
        due_in = store().next_schedule(self.left_alone)
        if due_in is None:
            return None
        return max(due_in, 0.0 if taken else 0.1)  # none taken: another engine has locked them

    def _round(self) -> int:
        """Start one round in one transaction; return the number of schedules taken.

        When a round of several fails, the next rounds take one each; a schedule that fails alone rests for a while.
        """
        limit = 1 if self.single_rounds else SCHEDULES_A_ROUND
        self.single_rounds = max(0, self.single_rounds - 1)
        taken: list[tuple[str, datetime]] = []
        try:
            with store().transaction():
                now, taken = store().take_schedules(limit, self.left_alone)
                _start(taken, now)
        except Exception as error:
            if not taken or isinstance(error, Stale) or errors.fault_of(error).passes:
                raise  # no schedule is to blame
            self._failed(taken)
        return len(taken)

    def _failed(self, taken: list[tuple[str, datetime]]) -> None:
        uid = taken[0][0]
        if len(taken) == 1:
            logger.exception("schedule %s cannot be started here: trying again in %.0f s", uid, AFTER_AN_ERROR_S)
            self.left_alone[uid] = time.monotonic() + AFTER_AN_ERROR_S
        else:
            logger.warning("%s schedules cannot be started together: trying them one by one", len(taken))
            self.single_rounds = len(taken)


def _start(taken: list[tuple[str, datetime]], now: datetime) -> None:
    """Start the fire times of these schedules; the schedules beyond EXECUTIONS_A_ROUND stay due."""
    fired: dict[str, Fired] = {}
    executions: list[tuple[datetime, NewExecution]] = []
    for uid, at in taken:
        if len(executions) < EXECUTIONS_A_ROUND:
            fired[uid] = _fired(uid, at, now)
            executions += fired[uid].executions
    made = store().insert_firings([(item.trigger_uid, at, item.organization_id, item.id) for at, item in executions])
    receipts = [receipt for schedule in fired.values() for receipt in schedule.receipts]
    answers = write([*(execution for _, execution in executions if execution.id in made), *receipts])
    if any(isinstance(answer, Stale) for answer in answers):
        raise Stale
    for uid, schedule in fired.items():
        store().set_schedule(uid, schedule.next_at)


def _fired(uid: str, first: datetime, now: datetime) -> Fired:
    """Return the executions and the next fire time of a schedule that is due since `first`; none when it is not live.

    A live schedule that this release cannot read, or whose time zone this machine lacks, raises an error: as "not live"
    it would never fire again.
    """
    live = read_trigger(uid)
    if live is None or not live.is_active or live.definition is None:
        return Fired()
    rule = Rule.model_validate(live.definition.trigger.config)
    fired = Fired(next_at=next_fire_time(rule, now))
    if first == TO_FIND:
        if counts_elapsed_time(rule):
            store().forget_firings(uid, now + ON_TIME)
        return fired
    for at in due_fire_times(rule, first, now):
        _add_fire_time(fired, live, rule, at, now)
    _add_missed(fired, live, rule, first, now)
    return fired


def _add_fire_time(fired: Fired, live: LiveTrigger, rule: Rule, at: datetime, now: datetime) -> None:
    """Add the execution of one fire time, or the receipt that its conditions are not met."""
    assert live.definition is not None
    payload = output(rule, at, now)
    group = live.definition.trigger.conditions
    reason = _unmet(group, payload)
    if not reason:
        fired.executions.append((at, new_execution(live, payload)))
        return
    fired.receipts.append(receipt_for(live, Outcome.CONDITIONS_NOT_MET, 200, "conditions_not_met", reason=reason))


def _unmet(group: Group, payload: JSON) -> str:
    """Return why the conditions do not let this fire time start an execution; its output is always small."""
    try:
        with budget():
            return judge(group, {"trigger": payload})
    except TooLarge as error:
        return str(error)
    except OverBudget:
        return "The conditions take too long."


def _add_missed(fired: Fired, live: LiveTrigger, rule: Rule, first: datetime, now: datetime) -> None:
    """Leave a receipt that says since when fire times passed while no cluster ran."""
    if now - first <= ON_TIME:
        return
    since = f"{first.astimezone(rule.zone):%Y-%m-%d %H:%M:%S} ({rule.time_zone})"
    reason = f"No cluster was running at the fire times since {since}. {LATE[rule.missed]}."
    fired.receipts.append(receipt_for(live, Outcome.REFUSED, 200, "missed", reason=reason))

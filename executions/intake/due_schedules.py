"""Starting what schedules are due: one transaction takes some, makes an execution a fire time and sets the next."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime

from connectors.schedule.fire_times import ON_TIME, due_fire_times, next_fire_time, output
from connectors.schedule.rule import CATCH_UP_LIMIT, Rule
from connectors.sdk import conditions
from executions.intake.acceptance import Stale, receipt_for, write
from executions.intake.live_trigger import LiveTrigger, new_execution, read_trigger
from executions.models import Outcome
from executions.store import store
from executions.store.away import AWAY
from executions.store.rows import NewExecution, NewReceipt

logger = logging.getLogger(__name__)

AT_ONCE = 50  # schedules of a round
ENOUGH = 1000  # executions of a round: a quarter of a second, in which the engine does not beat
AFTER_AN_ERROR_S = 60.0
LATE = {
    "once": "One execution replaced them all",
    "all": f"Each was started later, at most the latest {CATCH_UP_LIMIT}",
    "none": "They were skipped",
}


@dataclass(slots=True)
class Fired:
    """What one schedule starts now."""

    executions: list[tuple[datetime, NewExecution]] = field(default_factory=list)
    receipts: list[NewReceipt] = field(default_factory=list)
    next_at: datetime | None = None


class DueSchedules:
    """What one engine starts by the clock; one that it cannot start it leaves alone for a while, due for others."""

    def __init__(self) -> None:
        self.left_alone: dict[str, float] = {}  # the triggers, until when
        self.singly = 0  # rounds of one schedule to come, after a round that failed

    def start_due(self) -> float | None:
        """Start a round of what is due, in the engine's database thread; return the seconds until the next one fires.

        None when nothing does, 0 when there is more: beats and claims, which share the thread, get their turn first.
        """
        self.left_alone = {uid: until for uid, until in self.left_alone.items() if until > time.monotonic()}
        due_in = store().next_schedule(self.left_alone)
        if due_in is None or due_in > 0:
            return due_in
        try:
            taken = self._round()
        except Stale:  # an automation changed meanwhile; the next look sees what it is now
            return 0.1
        due_in = store().next_schedule(self.left_alone)
        return None if due_in is None else max(due_in, 0.0 if taken else 0.1)  # none taken: another engine has them

    def _round(self) -> int:
        """Start in one transaction; what fails of several is tried again one by one, what fails alone left alone."""
        limit, self.singly = (1, self.singly - 1) if self.singly else (AT_ONCE, 0)
        taken: list[tuple[str, datetime]] = []
        try:
            with store().transaction():
                now, taken = store().take_schedules(limit, self.left_alone)
                _start(taken, now)
        except (Stale, *AWAY):
            raise  # the database's own trouble is nobody's fault
        except Exception:
            if not taken:
                raise
            self._failed(taken)
        return len(taken)

    def _failed(self, taken: list[tuple[str, datetime]]) -> None:
        uid = taken[0][0]
        if len(taken) == 1:
            logger.exception("schedule %s cannot be started here: trying again in %.0f s", uid, AFTER_AN_ERROR_S)
            self.left_alone[uid] = time.monotonic() + AFTER_AN_ERROR_S
        else:
            logger.warning("%s schedules cannot be started together: trying them one by one", len(taken))
            self.singly = len(taken)


def _start(taken: list[tuple[str, datetime]], now: datetime) -> None:
    """Start what is due of these; those beyond what is enough for one transaction stay due."""
    fired: dict[str, Fired] = {}
    found: list[tuple[datetime, NewExecution]] = []
    for uid, at in taken:
        if len(found) < ENOUGH:
            fired[uid] = _fired(uid, at, now)
            found += fired[uid].executions
    made = store().insert_firings([(new.trigger_uid, at, new.organization_id, new.id) for at, new in found])
    receipts = [receipt for one in fired.values() for receipt in one.receipts]
    answers = write([*(new for _, new in found if new.id in made), *receipts])
    if any(isinstance(answer, Stale) for answer in answers):
        raise Stale
    for uid, one in fired.items():
        store().set_schedule(uid, one.next_at)


def _fired(uid: str, first: datetime, now: datetime) -> Fired:
    """Return what a schedule that was next due at `first` starts now; nothing, and no next time, when it is not live.

    A live one that this release, or a machine without its time zone, cannot read is an error, never "not live".
    """
    live = read_trigger(uid)
    if live is None or not live.is_active or live.definition is None:
        return Fired()
    rule = Rule.model_validate(live.definition.trigger.config)
    fired = Fired(next_at=next_fire_time(rule, now))
    for at in due_fire_times(rule, first, now):
        _add(fired, live, rule, at, now)
    _add_missed(fired, live, rule, first, now)
    return fired


def _add(fired: Fired, live: LiveTrigger, rule: Rule, at: datetime, now: datetime) -> None:
    assert live.definition is not None
    payload = output(rule, at, now)
    group = live.definition.trigger.conditions
    if conditions.holds(group, {"trigger": payload}):
        new = new_execution(live, payload)
        new.run_at = now  # its id has this machine's time, which claims, on the database's clock, would wait for
        fired.executions.append((at, new))
        return
    reason = conditions.explain(group, {"trigger": payload})
    fired.receipts.append(receipt_for(live, Outcome.CONDITIONS_NOT_MET, 200, "conditions_not_met", reason=reason))


def _add_missed(fired: Fired, live: LiveTrigger, rule: Rule, first: datetime, now: datetime) -> None:
    """Leave a receipt that says which fire times passed without a cluster."""
    if now - first <= ON_TIME:
        return
    since = f"{first.astimezone(rule.zone):%Y-%m-%d %H:%M:%S} ({rule.time_zone})"
    reason = f"No cluster was running at the fire times since {since}. {LATE[rule.missed]}."
    fired.receipts.append(receipt_for(live, Outcome.REFUSED, 200, "missed", reason=reason))

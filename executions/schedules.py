"""Starting what schedules are due: one transaction takes them, makes an execution a fire time and sets the next."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from connectors import conditions
from connectors.fire_times import ON_TIME, due_slots, next_slot, output
from connectors.schedule import CATCH_UP_LIMIT, Rule
from executions.intake import Stale, about, write
from executions.live import LiveTrigger, new_execution, read_trigger
from executions.models import Outcome
from executions.store import store
from executions.store.rows import NewExecution, NewReceipt

logger = logging.getLogger(__name__)

AT_ONCE = 50
AFTER_AN_ERROR_S = 60.0
LATE = {
    "once": "one execution made up for all of them",
    "all": f"each was made up for, the latest {CATCH_UP_LIMIT} at most",
    "none": "they were skipped",
}


@dataclass(slots=True)
class Fired:
    """What one schedule starts now."""

    executions: list[tuple[datetime, NewExecution]] = field(default_factory=list)
    receipts: list[NewReceipt] = field(default_factory=list)
    next_at: datetime | None = None


class DueSchedules:
    """What one engine starts by the clock; what it cannot read it leaves alone for a while, due for others that can."""

    def __init__(self) -> None:
        self.left_alone: dict[str, float] = {}  # the triggers, until when

    def start_due(self) -> float | None:
        """Start what is due, in the engine's database thread; return the seconds until the next schedule fires."""
        self.left_alone = {uid: until for uid, until in self.left_alone.items() if until > time.monotonic()}
        due_in = store().next_schedule(self.left_alone)
        while due_in is not None and due_in <= 0:
            try:
                with store().transaction():
                    taken = self._start(AT_ONCE)
            except Stale:  # an automation changed meanwhile; the next look sees what it is now
                return 0.1
            due_in = store().next_schedule(self.left_alone)
            if not taken:
                return max(0.1, due_in) if due_in is not None else None  # another engine has them
        return due_in

    def _start(self, limit: int) -> int:
        now, taken = store().take_schedules(limit, self.left_alone)
        fired = {uid: one for uid, at in taken if (one := self._fired(uid, at, now))}
        found = [(at, new) for one in fired.values() for at, new in one.executions]
        made = store().insert_slots([(new.trigger_uid, at, new.organization_id, new.id) for at, new in found])
        receipts = [receipt for one in fired.values() for receipt in one.receipts]
        answers = write([*(new for _, new in found if new.id in made), *receipts])
        if any(isinstance(answer, Stale) for answer in answers):
            raise Stale
        for uid, one in fired.items():
            store().set_schedule(uid, one.next_at)
        return len(taken)

    def _fired(self, uid: str, first: datetime, now: datetime) -> Fired | None:
        try:
            return _fired(uid, first, now)
        except ValidationError as error:
            logger.error("schedule %s cannot be read: %s", uid, error)
            self.left_alone[uid] = time.monotonic() + AFTER_AN_ERROR_S
            return None


def _fired(uid: str, first: datetime, now: datetime) -> Fired:
    """Return what a schedule that was next due at `first` starts now; nothing, and no next time, when it is not live.

    Raises ValidationError for a live one that this release, or a machine without its time zone, cannot read.
    """
    live = read_trigger(uid)
    if live is None or not live.is_active or live.definition is None:
        return Fired()
    rule = Rule.model_validate(live.definition.trigger.config)
    fired = Fired(next_at=next_slot(rule, now))
    for at in due_slots(rule, first, now):
        _add(fired, live, rule, at, now)
    _add_missed(fired, live, rule, first, now)
    return fired


def _add(fired: Fired, live: LiveTrigger, rule: Rule, at: datetime, now: datetime) -> None:
    assert live.definition is not None
    payload = output(rule, at, now)
    group = live.definition.trigger.conditions
    if conditions.holds(group, {"trigger": payload}):
        fired.executions.append((at, new_execution(live, payload)))
        return
    reason = conditions.explain(group, {"trigger": payload})
    fired.receipts.append(about(live, Outcome.CONDITIONS_NOT_MET, 200, "conditions_not_met", reason=reason))


def _add_missed(fired: Fired, live: LiveTrigger, rule: Rule, first: datetime, now: datetime) -> None:
    """Leave a receipt that says which fire times passed without a cluster."""
    if now - first <= ON_TIME:
        return
    since = f"{first.astimezone(rule.zone):%Y-%m-%d %H:%M:%S} ({rule.time_zone})"
    reason = f"No cluster ran at the fire times from {since} until now: {LATE[rule.missed]}."
    fired.receipts.append(about(live, Outcome.REFUSED, 200, "missed", reason=reason))

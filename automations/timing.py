"""Triggers that the clock fires: the rule that their settings make, and what is wrong with settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from automations.definition import TriggerPart
from connectors.registry import CONNECTORS
from connectors.schedule.fire_times import next_fire_time, next_fire_times
from connectors.schedule.rule import Rule
from connectors.sdk.check import check_config
from connectors.sdk.problems import Problem

SHOWN = 5  # fire times ahead, on the pages


@dataclass(frozen=True, slots=True)
class FireTime:
    at: datetime  # in the schedule's own zone, which people read it in

    @property
    def iso(self) -> str:
        return self.at.isoformat()

    @property
    def words(self) -> str:
        return f"{self.at:%a %-d %b %Y, %H:%M %Z}"


def is_timed(connector: str, event: str) -> bool:
    """Return whether the clock fires this event; an unknown connector or event counts as a trigger URL's."""
    found = CONNECTORS.get(connector)
    declared = found.event(event) if found else None
    return bool(declared and declared.is_timed)


def rule_of(part: TriggerPart) -> Rule | None:
    """Return the rule of a schedule; None for every other trigger, and for settings that this release cannot read.

    No exception: a draft may be unfinished, and a newer release beside this one may know settings that this does not.
    """
    if not is_timed(part.connector, part.event):
        return None
    try:
        return Rule.model_validate(part.config)
    except ValidationError:
        return None


def next_times(rule: Rule | None, now: datetime) -> list[FireTime]:
    """Return the next fire times after a moment, at most SHOWN; none without a rule, as for unfinished settings."""
    return [FireTime(at) for at in next_fire_times(rule, now, SHOWN)] if rule else []


def problems(part: TriggerPart, now: datetime, *, known_first_day: str | None = None) -> list[Problem]:
    """Return what is wrong with a trigger's settings, as far as a moment tells.

    A first day in the past cannot be chosen, but `known_first_day` (the one stored) may stay: otherwise a schedule that
    began last week could not be edited any more without moving its beginning.
    """
    connector = CONNECTORS.get(part.connector)
    event = connector.event(part.event) if connector else None
    found = check_config(event, part.config) if event else []
    rule = rule_of(part)
    if found or rule is None:
        return found
    first = rule.first_day
    if first and first < now.astimezone(rule.zone).date() and first.isoformat() != known_first_day:
        return [Problem(("first_day",), "First day must not be in the past.")]
    if next_fire_time(rule, now) is None:
        return [Problem(("last_day" if rule.last_day else "unit",), "The schedule never fires with these settings.")]
    return []

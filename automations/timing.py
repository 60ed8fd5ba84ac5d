"""Triggers that the clock fires: what their settings say, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from automations.definition import Definition, TriggerPart
from connectors.registry import CONNECTORS
from connectors.schedule.fire_times import next_fire_time, next_fire_times
from connectors.schedule.rule import Rule
from connectors.sdk.check import check_config
from connectors.sdk.problems import Problem

if TYPE_CHECKING:
    from automations.models import Automation

SHOWN = 5


@dataclass(frozen=True, slots=True)
class FireTime:
    at: datetime  # in the schedule's own zone, which people read it in

    @property
    def iso(self) -> str:
        return self.at.isoformat()

    @property
    def words(self) -> str:
        return f"{self.at:%a %-d %b %Y, %H:%M %Z}"


def live_part(automation: Automation) -> TriggerPart | None:
    """Return the trigger that the clock fires now, or None when the clock does not."""
    version = automation.live_version
    if version is None or not automation.is_active or automation.deleted_at:
        return None
    part = Definition.model_validate(version.definition).trigger
    return part if is_timed(part.connector, part.event) else None


def live_rule(automation: Automation) -> Rule | None:
    """Return the rule that fires the automation, or None when the clock does not."""
    part = live_part(automation)
    return rule_of(part) if part else None


def is_timed(connector: str, event: str) -> bool:
    found = CONNECTORS.get(connector)
    declared = found.event(event) if found else None
    return bool(declared and declared.is_timed)


def rule_of(part: TriggerPart) -> Rule | None:
    """Return the rule of a schedule; None for every other trigger and for settings that do not make one here."""
    if not is_timed(part.connector, part.event):
        return None
    try:
        return Rule.model_validate(part.config)
    except ValidationError:
        return None


def next_times(rule: Rule | None, now: datetime) -> list[FireTime]:
    """Return the next fire times; none for unfinished settings."""
    return [FireTime(at) for at in next_fire_times(rule, now, SHOWN)] if rule else []


def problems(part: TriggerPart, now: datetime, *, known_first_day: str | None = None) -> list[Problem]:
    """Return what is wrong with a trigger's settings; a first day in the past may stay, but not be chosen."""
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

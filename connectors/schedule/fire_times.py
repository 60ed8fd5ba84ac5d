"""When a schedule fires, as pure functions of its rule and a moment.

Two kinds of rule. A fixed time of day (days, weeks, months, every few hours, cron with fixed hours) follows the wall
clock: in the gap of spring it fires once, at the first instant after it, and in the doubled hour of autumn once, in the
first pass. What repeats within the hour or each hour (minutes, every hour, cron with `*` for the hour) follows elapsed
time, so that no hour is silent or run over where the clock moves by whole hours, as it does but on Lord Howe Island.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, takewhile

from cronsim import CronSim

from connectors.schedule.rule import CATCH_UP_LIMIT, EPOCH, Rule
from connectors.sdk.call import JSON

HORIZON = timedelta(days=3660)  # what does not fire in ten years never fires
ON_TIME = timedelta(minutes=1)


def fire_times(rule: Rule, after: datetime) -> Iterator[datetime]:
    """Yield the fire times after a moment, in order, as UTC."""
    if rule.first_day:
        after = max(after, _midnight(rule.first_day, rule.zone) - timedelta(seconds=1))
    last = after
    for day, at in _by_day(rule, after):
        if at - after > HORIZON or (rule.last_day and day > rule.last_day):
            return
        if at > last and rule.has_turn(day):  # of several that a gap moves to its end, one
            last = at
            yield at


def _by_day(rule: Rule, after: datetime) -> Iterator[tuple[date, datetime]]:
    """Return each time with its day, also for days on which the schedule does not fire (`Rule.has_turn`)."""
    if rule.unit == "minutes":
        found = _by_minutes(rule, after)
    elif counts_elapsed_time(rule):
        found = (at.astimezone(UTC) for at in CronSim(rule.expression, after.astimezone(rule.zone)))
    else:
        return _by_wall_clock(rule, after)
    return ((at.astimezone(rule.zone).date(), at) for at in found)


def counts_elapsed_time(rule: Rule) -> bool:
    """Return whether the rule repeats within the hour or each hour, so that it has no fixed time of day."""
    return rule.unit == "minutes" or rule.expression.split()[1] in ("*", "*/1")


def _by_minutes(rule: Rule, after: datetime) -> Iterator[datetime]:
    """Count elapsed minutes from a midnight in the zone: the distance is the same over any change of the clock."""
    step = timedelta(minutes=rule.interval or 1)
    start = _midnight(rule.first_day or EPOCH, rule.zone)
    number = max(0, (after.astimezone(UTC) - start) // step + 1)
    while True:
        yield start + number * step
        number += 1


def _by_wall_clock(rule: Rule, after: datetime) -> Iterator[tuple[date, datetime]]:
    """Read the rule off the wall clock; a time that the clock skips becomes the instant of the skip, even tomorrow."""
    local = after.astimezone(rule.zone).replace(tzinfo=None)
    for wall in CronSim(rule.expression, local - timedelta(days=1)):
        yield wall.date(), _instant(wall, rule.zone)


def _midnight(day: date, zone: zoneinfo.ZoneInfo) -> datetime:
    return _instant(datetime.combine(day, time()), zone)


def _instant(wall: datetime, zone: zoneinfo.ZoneInfo) -> datetime:
    """Return when the wall clock shows this, for the first time; in a gap the first instant after it."""
    early = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if early.astimezone(zone).replace(tzinfo=None) == wall:
        return early
    before, after = (wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    assert before is not None and after is not None
    low, high = (wall - max(before, after)).replace(tzinfo=UTC), (wall - min(before, after)).replace(tzinfo=UTC)
    while high - low > timedelta(minutes=1):  # the change lies between the two readings
        middle = low + (high - low) // 2
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
    return high.replace(second=0, microsecond=0)


def next_fire_time(rule: Rule, after: datetime) -> datetime | None:
    """Return the first fire time after a moment, as UTC, or None when the rule never fires again."""
    return next(fire_times(rule, after), None)


def next_fire_times(rule: Rule, after: datetime, count: int) -> list[datetime]:
    """Return the next fire times, in the rule's own zone."""
    return [at.astimezone(rule.zone) for at in islice(fire_times(rule, after), count)]


def due_fire_times(rule: Rule, first: datetime, now: datetime) -> list[datetime]:
    """Return which of the fire times, `first` and those after it up to now, are to be run: missed ones by the rule."""
    since = max(first, now - ON_TIME) if rule.missed == "none" else first
    wanted = 1 if rule.missed == "once" else CATCH_UP_LIMIT
    found: list[datetime] = []
    for span in (timedelta(hours=1), timedelta(days=1), timedelta(days=40), HORIZON):  # no further than it takes
        start = max(since, now - span)
        found = [first] if start == first else []
        found += takewhile(lambda at: at <= now, fire_times(rule, start))
        if len(found) >= wanted or start == since:
            break
    return found[-wanted:]


def output(rule: Rule, scheduled: datetime, fired: datetime) -> dict[str, JSON]:
    """Return what an execution is given: when it was to start, when it did, and the metadata."""
    return {
        "scheduled_at": scheduled.astimezone(rule.zone).isoformat(timespec="seconds"),
        "fired_at": fired.astimezone(rule.zone).isoformat(timespec="milliseconds"),
        "time_zone": rule.time_zone,
        "metadata": rule.metadata,
    }

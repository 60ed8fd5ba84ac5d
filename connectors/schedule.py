"""Scheduler: starts an automation by the clock.

Two kinds of rule. A fixed time of day (days, weeks, months, every few hours, cron with fixed hours) follows the wall
clock: in the gap of spring it fires once, at the first instant after it, and in the doubled hour of autumn once, in the
first pass. What repeats within the hour or each hour (minutes, every hour, cron with `*` for the hour) follows elapsed
time, so that no hour is silent or run over.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import islice, takewhile
from typing import Any, Literal

import orjson
from cronsim import CronSim, CronSimError
from pydantic import Field, ValidationInfo, field_validator, model_validator

from connectors.call import JSON, Connector, Event
from connectors.fields import Input

AREAS = {"Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"}
# Without Etc/GMT+5 and its like, whose signs are the reverse of what people mean.
ZONES = ["Etc/UTC", *sorted(name for name in zoneinfo.available_timezones() if name.partition("/")[0] in AREAS)]

UNITS = ("minutes", "hours", "days", "weeks", "months", "cron")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEKDAY_TITLES = dict(
    zip(WEEKDAYS, ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"], strict=True)
)
LONGEST = {"minutes": 1440, "hours": 24, "days": 366, "weeks": 52, "months": 12}
# Which settings belong to which unit; what is typed into the others counts for nothing.
OF_UNITS: dict[str, tuple[str, ...]] = {
    "interval": ("minutes", "hours", "days", "weeks", "months"),
    "minute": ("hours",),
    "weekdays": ("weeks",),
    "day": ("months",),
    "at": ("days", "weeks", "months"),
    "cron": ("cron",),
}
CRON_FIELDS = (
    ("minute", "0 to 59", 59), ("hour", "0 to 23", 23), ("day of month", "1 to 31", 31),
    ("month", "1 to 12 or JAN to DEC", 12), ("day of week", "0 to 7 or SUN to SAT", 7),
)  # fmt: skip
CRON_SHAPE = "a cron expression has exactly 5 fields, minute hour day-of-month month day-of-week, such as 30 6 * * 1-5"
TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
METADATA_LIMIT = 64 * 1024
EPOCH = date(2024, 1, 1)  # a Monday: what intervals of days, weeks and months count from without a first day
ANY_TIME = datetime.combine(EPOCH, time())
HORIZON = timedelta(days=3660)  # what does not fire in ten years never fires
ON_TIME = timedelta(minutes=1)
CATCH_UP_LIMIT = 100


def of(name: str, **more: Any) -> dict[str, Any]:
    return {"units": OF_UNITS[name], **more}


class Rule(Input):
    """When a schedule fires, and what its executions are given."""

    unit: Literal["minutes", "hours", "days", "weeks", "months", "cron"] = Field(
        "minutes", title="Repeats", json_schema_extra={"widget": "select", "labels": {"cron": "Custom cron"}}
    )
    interval: int | None = Field(
        None,
        title="Every",
        description="How many of these units lie between two fire times; the smallest is one minute.",
        validate_default=True,
        examples=["1"],
        json_schema_extra=of("interval", widget="number"),
    )
    minute: int = Field(
        0, title="At minute", ge=0, le=59, description="Of the hour.", json_schema_extra=of("minute", widget="number")
    )
    weekdays: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(
        [],
        title="On",
        validate_default=True,
        json_schema_extra=of("weekdays", widget="checkboxes", labels=WEEKDAY_TITLES),
    )
    day: int = Field(
        1,
        title="Day of the month",
        ge=1,
        le=31,
        description="A month without this day is skipped.",
        json_schema_extra=of("day", widget="number"),
    )
    at: str = Field(
        "00:00",
        title="At",
        description="Time of day as hh:mm, 00:00 to 23:59.",
        examples=["09:30"],
        json_schema_extra=of("at"),
    )
    cron: str = Field(
        "",
        title="Cron expression",
        description="Minute, hour, day of month, month, day of week.",
        validate_default=True,
        max_length=200,
        examples=["30 6 * * 1-5"],
        json_schema_extra=of("cron"),
    )
    time_zone: str = Field(
        "Etc/UTC",
        title="Time zone",
        json_schema_extra={"widget": "select", "enum": [*ZONES], "labels": {name: name for name in ZONES}},
    )
    missed: Literal["once", "all", "none"] = Field(
        "once",
        title="Missed fire times",
        description=f"Those more than a minute ago when a cluster starts again; of all, the latest {CATCH_UP_LIMIT}.",
        json_schema_extra={
            "widget": "select",
            "labels": {"once": "Run once", "all": "Run all", "none": "Skip"},
        },
    )
    first_day: date | None = Field(
        None,
        title="First day",
        ge=date(2000, 1, 1),
        le=date(2099, 12, 31),
        description="As yyyy-mm-dd, in the time zone; longer intervals are counted from it.",
        json_schema_extra={"advanced": True},
    )
    last_day: date | None = Field(
        None,
        title="Last day",
        ge=date(2000, 1, 1),
        le=date(2099, 12, 31),
        description="As yyyy-mm-dd, in the time zone.",
        json_schema_extra={"advanced": True},
    )
    metadata: dict[str, Any] = Field(
        {},
        title="Metadata",
        description="A JSON object given to each execution; steps read it as trigger.metadata.",
        json_schema_extra={"widget": "json"},
    )

    @model_validator(mode="before")
    @classmethod
    def only_what_the_unit_knows(cls, given: Any) -> Any:
        unit = given.get("unit", "minutes") if isinstance(given, dict) else ""
        if unit not in UNITS:
            return given
        return {name: value for name, value in given.items() if unit in OF_UNITS.get(name, UNITS)}

    @field_validator("interval")
    @classmethod
    def interval_fits_the_unit(cls, interval: int | None, info: ValidationInfo) -> int | None:
        unit = info.data.get("unit", "")
        if unit not in LONGEST:
            return interval
        if interval is None:
            raise ValueError(f"say after how many {unit} it repeats")
        if not 1 <= interval <= LONGEST[unit]:
            raise ValueError(f"1 to {LONGEST[unit]} {unit}; the smallest interval is one minute")
        return interval

    @field_validator("weekdays")
    @classmethod
    def a_week_has_a_day(cls, weekdays: list[Any], info: ValidationInfo) -> list[Any]:
        if info.data.get("unit") == "weeks" and not weekdays:
            raise ValueError("choose at least one day of the week")
        return weekdays

    @field_validator("at")
    @classmethod
    def at_is_a_time(cls, at: str) -> str:
        if not TIME_OF_DAY.fullmatch(at.strip()):
            raise ValueError("a time of day as hh:mm, 00:00 to 23:59")
        return at.strip()

    @field_validator("cron")
    @classmethod
    def cron_can_be_read(cls, cron: str, info: ValidationInfo) -> str:
        if info.data.get("unit") == "cron":
            check_cron(cron)
        return cron.strip()

    @field_validator("time_zone")
    @classmethod
    def zone_is_known(cls, name: str) -> str:
        if name not in ZONES:
            raise ValueError("choose a time zone of the list, such as Europe/Berlin")
        return name

    @field_validator("metadata", mode="before")
    @classmethod
    def metadata_is_an_object(cls, metadata: Any) -> Any:
        if not isinstance(metadata, dict):
            raise ValueError('a JSON object, such as {"region": "eu"}')
        return metadata

    @field_validator("metadata")
    @classmethod
    def metadata_is_small(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        if len(orjson.dumps(metadata)) > METADATA_LIMIT:
            raise ValueError("64 KB at most")
        return metadata

    @field_validator("last_day")
    @classmethod
    def last_is_not_before_first(cls, last: date | None, info: ValidationInfo) -> date | None:
        first = info.data.get("first_day")
        if last and first and last < first:
            raise ValueError("not before the first day")
        return last

    @cached_property
    def zone(self) -> zoneinfo.ZoneInfo:
        return zoneinfo.ZoneInfo(self.time_zone)

    @property
    def expression(self) -> str:
        """Return the rule within a day as cron; which days, weeks or months have their turn is `has_turn`."""
        hour, _, minute = self.at.partition(":")
        match self.unit:
            case "hours":
                interval = self.interval or 1
                hours = "*" if interval == 1 else ",".join(map(str, range(0, 24, interval)))
                return f"{self.minute} {hours} * * *"
            case "days":
                return f"{minute} {hour} * * *"
            case "weeks":
                return f"{minute} {hour} * * {','.join(self.weekdays)}"
            case "months":
                return f"{minute} {hour} {self.day} * *"
            case _:
                return self.cron

    def has_turn(self, day: date) -> bool:
        """Return whether a day lies between the first and the last, in an interval that has its turn."""
        if (self.first_day and day < self.first_day) or (self.last_day and day > self.last_day):
            return False
        start, interval = self.first_day or EPOCH, self.interval or 1
        match self.unit:
            case "days":
                return (day - start).days % interval == 0
            case "weeks":
                return (_monday(day) - _monday(start)).days // 7 % interval == 0
            case "months":
                return ((day.year - start.year) * 12 + day.month - start.month) % interval == 0
            case _:
                return True

    @property
    def in_words(self) -> str:
        interval = self.interval or 1
        every = f"Every {interval} {self.unit}" if interval > 1 else f"Every {self.unit.removesuffix('s')}"
        match self.unit:
            case "minutes":
                return every
            case "hours":
                return f"{every}, at minute {self.minute}"
            case "days":
                return f"{every} at {self.at}"
            case "weeks":
                days = [WEEKDAY_TITLES[day] for day in WEEKDAYS if day in self.weekdays]
                return f"{every} on {', '.join(days)} at {self.at}"
            case "months":
                return f"{every} on day {self.day} at {self.at}"
            case _:
                return f"Cron {self.cron}"


def check_cron(text: str) -> None:
    """Raise ValueError, naming the field and its rule, for what is not a cron expression of five fields."""
    parts = text.split()
    if not text.isascii():
        raise ValueError("a cron expression holds only the digits 0 to 9, names such as MON, and * , - /")
    if len(parts) != 5:
        raise ValueError(CRON_SHAPE)
    for index, (part, (name, span, most)) in enumerate(zip(parts, CRON_FIELDS, strict=True)):
        steps = [int(step) for step in re.findall(r"/([0-9]{1,9})", part)]
        if any(step > most for step in steps):
            raise ValueError(f"{name}: a step of {max(steps)} is longer than its range, {span}")
        try:
            CronSim(" ".join(part if at == index else "*" for at in range(5)), ANY_TIME)
        except CronSimError:
            raise ValueError(f"{name}: “{part[:40]}” is not within {span}, such as *, 5, 1-5, */2 or 1,3") from None
    try:
        CronSim(text, ANY_TIME)
    except CronSimError:
        raise ValueError("day of month: never fires, none of its months has this day") from None


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


# --- when it fires


def slots(rule: Rule, after: datetime) -> Iterator[datetime]:
    """Yield the fire times after a moment, in order, as UTC."""
    if rule.first_day:
        after = max(after, _midnight(rule.first_day, rule.zone) - timedelta(seconds=1))
    if rule.unit == "minutes":
        found = _by_minutes(rule, after)
    elif rule.expression.split()[1] in ("*", "*/1"):
        found = (at.astimezone(UTC) for at in CronSim(rule.expression, after.astimezone(rule.zone)))
    else:
        found = _by_wall_clock(rule, after)
    for at in takewhile(lambda at: at - after <= HORIZON, found):
        day = at.astimezone(rule.zone).date()
        if rule.last_day and day > rule.last_day:
            return
        if rule.has_turn(day):
            yield at


def _by_minutes(rule: Rule, after: datetime) -> Iterator[datetime]:
    """Count elapsed minutes from a midnight in the zone: the distance is the same over any change of the clock."""
    step = timedelta(minutes=rule.interval or 1)
    start = _midnight(rule.first_day or EPOCH, rule.zone)
    number = max(0, (after.astimezone(UTC) - start) // step + 1)
    while True:
        yield start + number * step
        number += 1


def _by_wall_clock(rule: Rule, after: datetime) -> Iterator[datetime]:
    """Read the rule off the wall clock; a time that the clock skips becomes the instant of the skip."""
    local = after.astimezone(rule.zone).replace(tzinfo=None)
    last = after.astimezone(UTC)
    for wall in CronSim(rule.expression, local - timedelta(days=1)):
        at = _instant(wall, rule.zone)
        if at > last:
            last = at
            yield at


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


def next_slot(rule: Rule, after: datetime) -> datetime | None:
    return next(slots(rule, after), None)


def next_slots(rule: Rule, after: datetime, count: int) -> list[datetime]:
    """Return the next fire times, in the rule's own zone."""
    return [at.astimezone(rule.zone) for at in islice(slots(rule, after), count)]


def due_slots(rule: Rule, first: datetime, now: datetime) -> list[datetime]:
    """Return which of the fire times, `first` and those after it up to now, are to be run: missed ones by the rule."""
    since = max(first, now - ON_TIME) if rule.missed == "none" else first
    wanted = 1 if rule.missed == "once" else CATCH_UP_LIMIT
    found: list[datetime] = []
    for span in (timedelta(hours=1), timedelta(days=1), timedelta(days=40), HORIZON):  # no further than it takes
        start = max(since, now - span)
        found = [first] if start == first else []
        found += takewhile(lambda at: at <= now, slots(rule, start))
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


CONNECTOR = Connector(
    key="schedule",
    title="Scheduler",
    icon="clock",
    summary="Start by the clock: every few minutes, at a time of day, or by cron.",
    events=(
        Event(
            key="fires",
            title="Schedule fires",
            summary="Starts every few minutes, hours, days, weeks or months, or as a cron expression says.",
            config=Rule,
            is_timed=True,
            sample={
                "scheduled_at": "2026-01-01T09:00:00+00:00",
                "fired_at": "2026-01-01T09:00:00.004+00:00",
                "time_zone": "Etc/UTC",
                "metadata": {},
            },
        ),
    ),
)

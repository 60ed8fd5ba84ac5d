"""Scheduler: starts an automation by the clock; when, is in `connectors.schedule.fire_times`."""

from __future__ import annotations

import re
import zoneinfo
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Literal

import orjson
from pydantic import Field, ValidationInfo, field_validator, model_validator

from connectors.schedule.cron import check_cron
from connectors.sdk.call import Connector, Event
from connectors.sdk.fields import Input

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
TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
METADATA_LIMIT = 64 * 1024  # bytes, stored again with every execution
CATCH_UP_LIMIT = 100  # of missed fire times that are made up for
EPOCH = date(2024, 1, 1)  # a Monday: what intervals of days, weeks and months count from without a first day


# Fields with `validate_default` depend on the unit: they are checked when they are empty, too.
def of(name: str, **more: Any) -> dict[str, Any]:
    """Return the hints that make the form show this field for its units (OF_UNITS) only."""
    return {"units": OF_UNITS[name], "widget": "text", **more}


class Rule(Input):
    """When a schedule fires, and what its executions are given."""

    unit: Literal["minutes", "hours", "days", "weeks", "months", "cron"] = Field(
        "minutes", title="Repeats", json_schema_extra={"widget": "select", "labels": {"cron": "Custom cron"}}
    )
    interval: int | None = Field(
        None,
        title="Every",
        description="The number of these units between two fire times.",
        validate_default=True,
        examples=["1"],
        json_schema_extra=of("interval", widget="number"),
    )
    minute: int = Field(
        0,
        title="At minute",
        ge=0,
        le=59,
        description="The minute of the hour, 0 to 59.",
        json_schema_extra=of("minute", widget="number"),
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
        description="Months without this day are skipped.",
        json_schema_extra=of("day", widget="number"),
    )
    at: str = Field(
        "00:00",
        title="At",
        description="The time of day as hh:mm, from 00:00 to 23:59.",
        examples=["09:30"],
        json_schema_extra=of("at"),
    )
    cron: str = Field(
        "",
        title="Cron expression",
        description="The fields are minute, hour, day of month, month, day of week.",
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
        description="What to do with fire times missed by more than a minute while no cluster ran. "
        f"“Run all” runs the latest {CATCH_UP_LIMIT}.",
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
        description="A date as yyyy-mm-dd, in the time zone above. Intervals are counted from this day.",
        json_schema_extra={"advanced": True, "widget": "text"},
    )
    last_day: date | None = Field(
        None,
        title="Last day",
        ge=date(2000, 1, 1),
        le=date(2099, 12, 31),
        description="A date as yyyy-mm-dd, in the time zone above.",
        json_schema_extra={"advanced": True, "widget": "text"},
    )
    metadata: dict[str, Any] = Field(
        {},
        title="Metadata",
        description="A JSON object for each execution. Steps read it as trigger.metadata.",
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
            raise ValueError(f"Every is empty: write the number of {unit}.")
        if not 1 <= interval <= LONGEST[unit]:
            raise ValueError(f"Every must be from 1 to {LONGEST[unit]:,} {unit}.")
        return interval

    @field_validator("weekdays")
    @classmethod
    def a_week_has_a_day(cls, weekdays: list[Any], info: ValidationInfo) -> list[Any]:
        if info.data.get("unit") == "weeks" and not weekdays:
            raise ValueError("Choose at least one day of the week.")
        return weekdays

    @field_validator("at")
    @classmethod
    def at_is_a_time(cls, at: str) -> str:
        if not TIME_OF_DAY.fullmatch(at.strip()):
            raise ValueError("At must be a time of day as hh:mm, from 00:00 to 23:59.")
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
            raise ValueError("Choose a time zone from the list, such as Europe/Berlin.")
        return name

    @field_validator("metadata", mode="before")
    @classmethod
    def metadata_is_an_object(cls, metadata: Any) -> Any:
        if not isinstance(metadata, dict):
            raise ValueError('Metadata must be a JSON object such as {"region": "eu"}.')
        return metadata

    @field_validator("metadata")
    @classmethod
    def metadata_is_small(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        if len(orjson.dumps(metadata)) > METADATA_LIMIT:
            raise ValueError("Metadata can have at most 64 KB.")
        return metadata

    @field_validator("last_day")
    @classmethod
    def last_is_not_before_first(cls, last: date | None, info: ValidationInfo) -> date | None:
        first = info.data.get("first_day")
        if last and first and last < first:
            raise ValueError("Last day must not be before the first day.")
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
        """Return the rule as a person would say it: “Every 2 weeks on Monday at 09:30”."""
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


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


CONNECTOR = Connector(
    key="schedule",
    title="Scheduler",
    icon="clock",
    summary="Start by the clock: every few minutes, at a time of day, or by a cron expression.",
    events=(
        Event(
            key="fires",
            title="Schedule fires",
            summary="Starts every few minutes, hours, days, weeks or months, or by a cron expression.",
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

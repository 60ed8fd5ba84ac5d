"""When each rule of the Scheduler fires."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from connectors.schedule.fire_times import due_fire_times, next_fire_time, next_fire_times, output
from connectors.schedule.rule import Rule


def rule(**config: Any) -> Rule:
    return Rule.model_validate(config)


def cron(expression: str, time_zone: str = "Etc/UTC") -> Rule:
    return rule(unit="cron", cron=expression, time_zone=time_zone)


def at(text: str) -> datetime:
    """Return a moment written as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(of: Rule, after: str, count: int) -> list[str]:
    """Return the next fire times as the rule's zone shows them, with the offset."""
    return [f"{time:%m-%d %H:%M %z}" for time in next_fire_times(of, at(after), count)]


@pytest.mark.parametrize(
    ("config", "after", "times"),
    [
        ({"interval": 15}, "2026-03-01 10:07", ["03-01 10:15 +0000", "03-01 10:30 +0000"]),
        ({"interval": 15}, "2026-03-01 10:15", ["03-01 10:30 +0000"]),
        ({"unit": "hours", "interval": 1, "minute": 5}, "2026-03-01 10:07", ["03-01 11:05 +0000"]),
        ({"unit": "hours", "interval": 6}, "2026-03-01 13:00", ["03-01 18:00 +0000", "03-02 00:00 +0000"]),
        ({"unit": "hours", "interval": 5}, "2026-03-01 19:00", ["03-01 20:00 +0000", "03-02 00:00 +0000"]),
        ({"unit": "days", "interval": 1, "at": "09:30"}, "2026-03-01 09:30", ["03-02 09:30 +0000"]),
        ({"unit": "days", "interval": 2, "first_day": "2026-03-01"}, "2026-02-01 00:00",
         ["03-01 00:00 +0000", "03-03 00:00 +0000"]),
        ({"unit": "weeks", "interval": 1, "weekdays": ["sun", "tue"], "at": "08:00"}, "2026-03-01 08:00",
         ["03-03 08:00 +0000", "03-08 08:00 +0000"]),
        ({"unit": "weeks", "interval": 2, "weekdays": ["mon"], "first_day": "2026-03-02"}, "2026-03-02 00:00",
         ["03-16 00:00 +0000", "03-30 00:00 +0000"]),
        ({"unit": "months", "interval": 1, "day": 31}, "2026-03-01 00:00",
         ["03-31 00:00 +0000", "05-31 00:00 +0000", "07-31 00:00 +0000"]),
        ({"unit": "months", "interval": 1, "day": 30}, "2026-01-30 00:00", ["03-30 00:00 +0000"]),
        ({"unit": "months", "interval": 1, "day": 29}, "2028-01-29 00:00", ["02-29 00:00 +0000"]),
        ({"unit": "months", "interval": 3, "day": 1, "first_day": "2026-02-01"}, "2026-02-01 00:00",
         ["05-01 00:00 +0000", "08-01 00:00 +0000"]),
        ({"unit": "cron", "cron": "0 0 * * 7"}, "2026-03-01 00:00", ["03-08 00:00 +0000"]),
        ({"unit": "cron", "cron": "0 0 1 JAN-FEB SUN"}, "2026-03-01 00:00", ["01-01 00:00 +0000", "01-03 00:00 +0000"]),
        ({"interval": 1, "last_day": "2026-03-01"}, "2026-03-01 23:58", ["03-01 23:59 +0000"]),
    ],
)  # fmt: skip
def test_a_rule_fires(config: dict[str, Any], after: str, times: list[str]) -> None:
    assert fires(rule(**config), after, len(times) if "last_day" not in config else 5) == times


def test_a_leap_day_fires_when_the_year_has_one() -> None:
    assert next_fire_time(cron("0 0 29 2 *"), at("2026-03-01 00:00")) == at("2028-02-29 00:00")


def test_a_rule_never_fires_when_its_months_lack_the_day() -> None:
    never = rule(unit="months", interval=12, day=30, first_day="2027-02-01")

    assert next_fire_time(never, at("2026-03-01 00:00")) is None


@pytest.mark.parametrize(
    ("zone", "before", "once"),
    [
        ("Europe/Berlin", "2026-03-28 12:00", ["03-29 03:00 +0200", "03-30 02:30 +0200"]),
        ("America/New_York", "2026-03-07 12:00", ["03-08 03:00 -0400", "03-09 02:30 -0400"]),
        ("Australia/Lord_Howe", "2026-10-03 00:00", ["10-04 02:30 +1100", "10-05 02:30 +1100"]),
    ],
)
@pytest.mark.parametrize(
    "config", [{"unit": "days", "interval": 1, "at": "02:15"}, {"unit": "cron", "cron": "15 2 * * *"}]
)
def test_a_time_of_day_fires_once_right_after_the_gap_of_spring(
    zone: str, before: str, once: list[str], config: dict[str, Any]
) -> None:
    found = fires(rule(**config, time_zone=zone), before, 2)

    assert found == [once[0], once[1].replace("02:30", "02:15")]


@pytest.mark.parametrize(
    ("zone", "before", "once"),
    [
        ("Europe/Berlin", "2026-10-24 12:00", ["10-25 02:30 +0200", "10-26 02:30 +0100"]),
        ("America/New_York", "2026-10-31 12:00", ["11-01 01:30 -0400", "11-02 01:30 -0500"]),
        ("Australia/Lord_Howe", "2026-04-04 00:00", ["04-05 01:45 +1100", "04-06 01:45 +1030"]),
    ],
)
def test_a_time_of_day_fires_once_in_the_doubled_hour_of_autumn(zone: str, before: str, once: list[str]) -> None:
    assert fires(rule(unit="days", interval=1, at=once[0][6:11], time_zone=zone), before, 2) == once


def test_every_second_hour_follows_the_wall_clock() -> None:
    every = cron("0 */2 * * *", "Europe/Berlin")

    assert fires(every, "2026-03-29 00:00", 2) == ["03-29 03:00 +0200", "03-29 04:00 +0200"]
    assert fires(every, "2026-10-24 23:00", 2) == ["10-25 02:00 +0200", "10-25 04:00 +0100"]


def test_several_times_within_the_gap_become_one() -> None:
    assert fires(cron("*/20 2,3 * * *", "Europe/Berlin"), "2026-03-29 00:00", 3) == [
        "03-29 03:00 +0200", "03-29 03:20 +0200", "03-29 03:40 +0200",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "minutes"),
    [
        ({"interval": 20}, 20),
        ({"unit": "cron", "cron": "*/20 * * * *"}, 20),
        ({"unit": "hours", "interval": 1, "minute": 10}, 60),
    ],
)
@pytest.mark.parametrize("day", ["2026-03-28 22:00", "2026-10-24 22:00"])
def test_no_hour_is_silent_or_run_over_when_the_clock_changes(config: dict[str, Any], minutes: int, day: str) -> None:
    found = next_fire_times(rule(**config, time_zone="Europe/Berlin"), at(day), 30)
    instants = [time.astimezone(UTC) for time in found]

    assert {two - one for one, two in pairwise(instants)} == {timedelta(minutes=minutes)}


@pytest.mark.parametrize(
    ("config", "times"),
    [
        ({"unit": "days", "interval": 2, "first_day": "2026-03-26"}, ["03-29 00:00 -0100", "03-30 23:30 -0100"]),
        ({"unit": "days", "interval": 2, "first_day": "2026-03-27"}, ["03-27 23:30 -0200", "03-29 23:30 -0100"]),
        ({"unit": "days", "interval": 1, "last_day": "2026-03-28"}, ["03-27 23:30 -0200", "03-29 00:00 -0100"]),
        ({"unit": "days", "interval": 1, "first_day": "2026-03-29"}, ["03-29 23:30 -0100", "03-30 23:30 -0100"]),
        ({"unit": "weeks", "interval": 1, "weekdays": ["sat"]}, ["03-29 00:00 -0100", "04-04 23:30 -0100"]),
        ({"unit": "months", "interval": 2, "day": 28, "first_day": "2026-01-01"},
         ["03-29 00:00 -0100", "05-28 23:30 -0100"]),
    ],
)  # fmt: skip
def test_the_day_that_was_meant_decides_when_the_gap_ends_on_the_next(config: dict[str, Any], times: list[str]) -> None:
    late = rule(**config, at="23:30", time_zone="America/Nuuk")

    assert fires(late, "2026-03-27 12:00", 2) == times


def test_a_time_that_the_gap_moves_onto_the_first_day_does_not_take_the_place_of_its_own() -> None:
    found = rule(unit="cron", cron="30 23,0 * * *", time_zone="America/Nuuk", first_day="2026-03-29")
    at_once = rule(unit="cron", cron="0 23,0 * * *", time_zone="America/Nuuk", first_day="2026-03-29")

    assert fires(found, "2026-03-27 12:00", 2) == ["03-29 00:30 -0100", "03-29 23:30 -0100"]
    assert fires(at_once, "2026-03-27 12:00", 2) == ["03-29 00:00 -0100", "03-29 23:00 -0100"]


@pytest.mark.parametrize("day", ["2026-10-03 12:00", "2026-04-04 12:00"])
@pytest.mark.parametrize(
    ("expression", "minutes"),
    [("* * * * *", 1), ("*/20 * * * *", 20), ("0,30 * * * *", 30), ("15 * * * *", 60), ("45 * * * *", 60)],
)
def test_half_an_hour_more_at_most_passes_when_a_clock_moves_by_half_an_hour(
    expression: str, minutes: int, day: str
) -> None:
    found = next_fire_times(cron(expression, "Australia/Lord_Howe"), at(day), 6 * 60 // minutes)
    passed = {two - one for one, two in pairwise(time.astimezone(UTC) for time in found)}

    assert found[0].utcoffset() != found[-1].utcoffset()
    assert timedelta(minutes=minutes) in passed
    assert max(passed) <= timedelta(minutes=minutes + 30)


@pytest.mark.parametrize(("missed", "count"), [("once", 1), ("all", 5), ("none", 1)])
def test_of_five_missed_fire_times_run(missed: str, count: int) -> None:
    every = rule(interval=1, missed=missed)

    found = due_fire_times(every, at("2026-03-01 10:00"), at("2026-03-01 10:04") + timedelta(seconds=20))

    assert found == [at("2026-03-01 10:04") - timedelta(minutes=ago) for ago in reversed(range(count))]


def test_a_skipping_schedule_runs_nothing_when_all_it_missed_is_past() -> None:
    daily = rule(unit="days", interval=1, missed="none")

    assert due_fire_times(daily, at("2026-03-01 00:00"), at("2026-03-03 12:00")) == []


@pytest.mark.parametrize("expression", ["* * * * *", "0 */7 * * *", "30 2 * * *", "0 0 1 * *"])
def test_all_missed_fire_times_are_bounded_after_years(expression: str) -> None:
    every = rule(unit="cron", cron=expression, missed="all")

    found = due_fire_times(every, at("2020-01-01 00:00"), at("2026-03-01 10:00"))

    assert 70 < len(found) <= 100
    assert found == sorted(set(found))
    assert found[-1] <= at("2026-03-01 10:00") < found[-1] + timedelta(days=31)


def test_the_output_says_when_it_was_due_and_when_it_fired() -> None:
    daily = rule(unit="days", interval=1, time_zone="Europe/Berlin", metadata={"region": "eu"})

    assert output(daily, at("2026-03-01 23:00"), at("2026-03-01 23:00") + timedelta(milliseconds=4)) == {
        "scheduled_at": "2026-03-02T00:00:00+01:00",
        "fired_at": "2026-03-02T00:00:00.004+01:00",
        "time_zone": "Europe/Berlin",
        "metadata": {"region": "eu"},
    }

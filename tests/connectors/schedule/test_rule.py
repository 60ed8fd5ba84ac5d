"""The Scheduler's settings: which are refused, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.schedule.rule import CONNECTOR
from connectors.sdk.check import check_config

EVENT = CONNECTOR.events[0]
FIVE = "exactly 5 fields"


@pytest.mark.parametrize(
    ("config", "field", "words"),
    [
        ({}, "interval", "Every is empty: write the number of minutes."),
        ({"interval": 0}, "interval", "from 1 to 1,440 minutes"),
        ({"interval": -1}, "interval", "1 to 1,440 minutes"),
        ({"interval": 0.5}, "interval", "whole number"),
        ({"interval": "often"}, "interval", "whole number"),
        ({"unit": "hours", "interval": 25}, "interval", "1 to 24 hours"),
        ({"unit": "hours", "interval": 1, "minute": 60}, "minute", "59"),
        ({"unit": "days", "interval": 1, "at": "24:00"}, "at", "hh:mm"),
        ({"unit": "days", "interval": 1, "at": "9:5"}, "at", "hh:mm"),
        ({"unit": "weeks", "interval": 1}, "weekdays", "at least one day"),
        ({"unit": "months", "interval": 1, "day": 32}, "day", "31"),
        ({"unit": "months", "interval": 1, "day": 0}, "day", "1"),
        ({"unit": "fortnights"}, "unit", "minutes"),
        ({"unit": "cron"}, "cron", FIVE),
        ({"unit": "cron", "cron": "* * * *"}, "cron", FIVE),
        ({"unit": "cron", "cron": "* * * * * *"}, "cron", FIVE),
        ({"unit": "cron", "cron": "* * * * * * *"}, "cron", FIVE),
        ({"unit": "cron", "cron": "every day"}, "cron", FIVE),
        ({"unit": "cron", "cron": "@daily"}, "cron", FIVE),
        ({"unit": "cron", "cron": "@reboot"}, "cron", FIVE),
        ({"unit": "cron", "cron": "a b c d e"}, "cron", "The minute “a” is not within 0 to 59."),
        ({"unit": "cron", "cron": "-1 * * * *"}, "cron", "minute"),
        ({"unit": "cron", "cron": "60 * * * *"}, "cron", "The minute “60” is not within 0 to 59."),
        ({"unit": "cron", "cron": "0 24 * * *"}, "cron", "The hour “24” is not within 0 to 23."),
        ({"unit": "cron", "cron": "0 0 * * 8"}, "cron", "The day of week “8” is not within 0 to 7"),
        ({"unit": "cron", "cron": "5-1 * * * *"}, "cron", "The minute “5-1”"),
        ({"unit": "cron", "cron": "*/0 * * * *"}, "cron", "The minute “*/0”"),
        ({"unit": "cron", "cron": "1,2,,3 * * * *"}, "cron", "The minute “1,2,,3”"),
        (
            {"unit": "cron", "cron": "*/100 * * * *"},
            "cron",
            "A step of 100 is longer than the range of the minute, 0 to 59.",
        ),
        ({"unit": "cron", "cron": "0 0 30 2 *"}, "cron", "never fires: none of its months has this day"),
        ({"unit": "cron", "cron": "0 0 31 2 *"}, "cron", "never fires: none of its months has this day"),
        ({"unit": "cron", "cron": "٣ * * * *"}, "cron", "holds only digits"),
        ({"interval": 1, "time_zone": "Mars/Phobos"}, "time_zone", "from the list"),
        ({"interval": 1, "time_zone": ""}, "time_zone", "from the list"),
        ({"interval": 1, "time_zone": "../etc/passwd"}, "time_zone", "from the list"),
        ({"interval": 1, "time_zone": "Etc/GMT-5"}, "time_zone", "from the list"),
        (
            {"interval": 1, "first_day": "2030-02-02", "last_day": "2030-02-01"},
            "last_day",
            "must not be before the first day",
        ),
        ({"interval": 1, "first_day": "9999-01-01"}, "first_day", "2099"),
        ({"interval": 1, "first_day": "0001-01-01"}, "first_day", "2000"),
        ({"interval": 1, "last_day": "2030-02-30"}, "last_day", "must be a date such as"),
        ({"interval": 1, "metadata": "text"}, "metadata", "a JSON object"),
        ({"interval": 1, "metadata": {"a": "b" * 70_000}}, "metadata", "64 KB"),
        ({"interval": 1, "missed": "some"}, "missed", "once"),
        ({"interval": 1, "colour": "red"}, "colour", "not a known field"),
    ],
)
def test_the_answer_names_the_field_and_the_rule_when_settings_are_wrong(
    config: dict[str, Any], field: str, words: str
) -> None:
    problems = check_config(EVENT, config)

    assert [problem.field for problem in problems] == [field]
    assert words in problems[0].message


def test_settings_of_another_unit_count_for_nothing() -> None:
    assert check_config(EVENT, {"unit": "days", "interval": 1, "cron": "nonsense", "day": 99, "weekdays": []}) == []

"""Cron expressions: what is refused, and in which words."""

from __future__ import annotations

import re
from datetime import date, datetime, time

from cronsim import CronSim, CronSimError

CRON_FIELDS = (
    ("minute", "0 to 59", 59), ("hour", "0 to 23", 23), ("day of month", "1 to 31", 31),
    ("month", "1 to 12 or JAN to DEC", 12), ("day of week", "0 to 7 or SUN to SAT", 7),
)  # fmt: skip
CRON_SHAPE = (
    "A cron expression has exactly 5 fields: minute, hour, day of month, month, day of week. "
    "An example is 30 6 * * 1-5."
)
ANY_TIME = datetime.combine(date(2024, 1, 1), time())


def check_cron(text: str) -> None:
    """Raise ValueError, naming the field and its rule, for what is not a cron expression of five fields."""
    parts = text.split()
    if not text.isascii():
        raise ValueError("A cron expression holds only digits, names such as MON, and the signs * , - and /.")
    if len(parts) != 5:
        raise ValueError(CRON_SHAPE)
    # Field by field, because cronsim does not say which one it refuses.
    for index, (part, (name, span, most)) in enumerate(zip(parts, CRON_FIELDS, strict=True)):
        steps = [int(step) for step in re.findall(r"/([0-9]{1,9})", part)]
        if any(step > most for step in steps):
            raise ValueError(f"A step of {max(steps)} is longer than the range of the {name}, {span}.")
        try:
            CronSim(" ".join(part if at == index else "*" for at in range(5)), ANY_TIME)
        except CronSimError:
            raise ValueError(
                f"The {name} “{part[:40]}” is not within {span}. Write it like *, 5, 1-5, */2 or 1,3."
            ) from None
    try:
        CronSim(text, ANY_TIME)
    except CronSimError:
        raise ValueError("This cron expression never fires: none of its months has this day.") from None

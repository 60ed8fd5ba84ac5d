"""I9: a schedule of every minute has started exactly one execution for each, whichever engines were alive."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from chaos.findings import Findings, Row
from executions.states import Status

MINUTE_S = 60
GRACE_S = 5.0  # seconds before the schedule's end within which a fire time may or may not have started
LOOK_S = 5.0  # seconds from an engine's registration to its first look at due schedules

type Span = tuple[float, float]


def check(
    fired: Sequence[tuple[datetime, Row]], kept: Span, possible: Span, absences: Sequence[Span], found: Findings
) -> None:
    """Compare the fire times with the clock.

    The schedule was active for all of `kept`, and at no time outside `possible`: making and ending it takes a while.
    `absences` had no cluster.
    """
    times = Counter(at for at, _ in fired)
    due = set(minutes(kept[0], kept[1] - GRACE_S))
    found.figures["fire times of the schedule"] = len(due)
    found.figures["started by the schedule"] = times.total()
    found.add("I9 fired twice", (str(at) for at, count in times.items() if count > 1))
    allowed = set(minutes(*possible))
    found.add("I9 fired at no time of its own", map(str, sorted(times.keys() - allowed)))
    left_out = {at for gone, back in absences for at in minutes(gone, back + LOOK_S)[:-1]}
    found.add("I9 a minute is missing", map(str, sorted(due - left_out - times.keys())))
    surely = {at for gone, back in absences for at in minutes(gone + 1, back - 1)[:-1]}
    found.add("I9 made up for more than the latest fire time", map(str, sorted(surely & times.keys())))
    found.add("I9 a scheduled execution has not ended well", (
        f"{row['id']}: {row['status']} {row['reason_code']}" for _, row in fired if row["status"] != Status.SUCCESS
    ))  # fmt: skip


def minutes(start: float, end: float) -> list[datetime]:
    """Return the full minutes after `start` up to `end`."""
    first = math.floor(start / MINUTE_S) + 1
    return [datetime.fromtimestamp(n * MINUTE_S, UTC) for n in range(first, math.floor(end / MINUTE_S) + 1)]

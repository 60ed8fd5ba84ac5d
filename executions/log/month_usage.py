"""A month's counted executions by day, status and automation, summed from usage rows."""

from __future__ import annotations

import calendar
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

from django.db.models import Sum

from automations.models import Automation
from executions.states import FINAL, Status
from projects.models import Project, UsageDay, this_month

DRAWN = [Status.SUCCESS, Status.PARTIALLY_EXECUTED, Status.REJECTED, Status.FAILED]  # in this order, bottom to top


@dataclass(frozen=True, slots=True)
class Bar:
    """One status of one day in the chart; x, y, width and height are in the chart's own units."""

    status: Status
    day: date
    count: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class AutomationUsage:
    uid: uuid.UUID
    name: str
    is_deleted: bool
    total: int
    counts: list[tuple[Status, int]]


class MonthUsage:
    """One project's usage in one UTC month."""

    WIDTH, HEIGHT = 960, 220

    def __init__(self, project: Project, month: date) -> None:
        self.project = project
        self.month = month

    @property
    def days(self) -> list[date]:
        length = calendar.monthrange(self.month.year, self.month.month)[1]
        return [self.month + timedelta(days=number) for number in range(length)]

    @cached_property
    def _rows(self) -> list[tuple[date, uuid.UUID, Status, int]]:
        days = self.days
        rows = UsageDay.objects.filter(project=self.project, day__gte=days[0], day__lte=days[-1])
        summed = rows.values_list("day", "automation_id", "status").annotate(total=Sum("count"))
        return [(day, automation, Status(status), total) for day, automation, status, total in summed.order_by("day")]

    @cached_property
    def total(self) -> int:
        return sum(count for *_, count in self._rows)

    @cached_property
    def by_status(self) -> list[tuple[Status, int]]:
        sums: Counter[Status] = Counter()
        for _, _, status, count in self._rows:
            sums[status] += count
        return [(status, sums[status]) for status in DRAWN if status in FINAL]

    @cached_property
    def by_day(self) -> list[tuple[date, int, list[tuple[Status, int]]]]:
        sums: defaultdict[date, Counter[Status]] = defaultdict(Counter)
        for day, _, status, count in self._rows:
            sums[day][status] += count
        return [(day, sums[day].total(), [(s, sums[day][s]) for s in DRAWN]) for day in self.days]

    @cached_property
    def by_automation(self) -> list[AutomationUsage]:
        sums: defaultdict[uuid.UUID, Counter[Status]] = defaultdict(Counter)
        for _, automation, status, count in self._rows:
            sums[automation][status] += count
        known = Automation.objects.filter(project=self.project).only("uid", "name", "deleted_at").in_bulk(list(sums))
        lines = [_usage_of(uid, known.get(uid), counts) for uid, counts in sums.items()]
        return sorted(lines, key=lambda line: (-line.total, line.name))

    @cached_property
    def highest(self) -> int:
        """Return the top of the chart's scale: a round number that no day exceeds."""
        most = max((total for _, total, _ in self.by_day), default=0)
        step = 10 ** max(0, len(str(most)) - 1)
        return next((size for size in (step, 2 * step, 5 * step, 10 * step) if size >= most), 1) if most else 1

    @property
    def bars(self) -> list[Bar]:
        slot = self.WIDTH / len(self.days)
        drawn = []
        for position, (day, _, counts) in enumerate(self.by_day):
            x, top = round((position + 0.15) * slot, 1), float(self.HEIGHT)
            for status, count in counts:
                if count:
                    # The least height keeps a single execution visible.
                    height = max(1.5, self.HEIGHT * count / self.highest)
                    top -= height
                    drawn.append(Bar(status, day, count, x, round(top, 1), round(slot * 0.7, 1), round(height, 1)))
        return drawn

    @property
    def day_labels(self) -> list[tuple[float, int]]:
        """Return the labels under the chart, the 1st and every fifth day: position and number of the day."""
        slot = self.WIDTH / len(self.days)
        return [(round((day.day - 0.5) * slot, 1), day.day) for day in self.days if day.day == 1 or day.day % 5 == 0]

    @property
    def scale(self) -> list[tuple[float, str]]:
        """Return the lines of the scale, bottom to top: position from the top and label."""
        # 4 or 5 parts where their labels are whole numbers; the rest are small scales, of a line for each number.
        parts = next(parts for parts in (4, 5, self.highest) if self.highest % parts == 0)
        shares = [part / parts for part in range(parts + 1)]
        return [(self.HEIGHT * (1 - share), f"{round(self.highest * share, 1):g}") for share in shares]

    @property
    def previous(self) -> date:
        return (self.month - timedelta(days=1)).replace(day=1)

    @property
    def next(self) -> date | None:
        following = (self.month + timedelta(days=31)).replace(day=1)
        return following if following <= this_month() else None

    @property
    def is_current(self) -> bool:
        return self.month == this_month()


def _usage_of(uid: uuid.UUID, automation: Automation | None, counts: Counter[Status]) -> AutomationUsage:
    name = automation.name if automation else "Removed automation"
    is_deleted = automation is None or automation.deleted_at is not None
    return AutomationUsage(uid, name, is_deleted, counts.total(), [(status, counts[status]) for status in DRAWN])

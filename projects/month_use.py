"""How much of its monthly limits an organization has used: for the pages and the banner that show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from projects.models import Organization, UsageMonth, this_month

NEAR_PERCENT = 80  # from here on a banner says that a limit comes near


@dataclass(frozen=True, slots=True)
class Use:
    """How much of one limit is used; None means that there is no limit."""

    used: int
    limit: int | None

    @property
    def is_reached(self) -> bool:
        return self.limit is not None and self.used >= self.limit

    @property
    def is_near(self) -> bool:
        return self.limit is not None and not self.is_reached and 100 * self.used >= NEAR_PERCENT * self.limit


@dataclass(frozen=True, slots=True)
class MonthUse:
    """Use of the three limits. Executions under way count too, because they hold their place in the limit already."""

    soft: Use
    hard: Use
    emails: Use


def month_use(organization: Organization, month: date | None = None) -> MonthUse:
    """Return the use in a month, given by its first day (UTC); without one, in the current month."""
    row = UsageMonth.objects.filter(organization=organization, month=month or this_month()).first()
    executions, emails = (row.reserved, row.emails) if row else (0, 0)
    return MonthUse(
        soft=Use(executions, organization.soft_limit),
        hard=Use(executions, organization.hard_limit),
        emails=Use(emails, organization.email_limit),
    )

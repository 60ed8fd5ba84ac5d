"""A month's limits of an organization and what is used of them: for the pages that show them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from projects.models import Organization, UsageMonth, this_month

NEAR_PERCENT = 80  # from here on a banner says that a limit comes near


@dataclass(frozen=True, slots=True)
class Use:
    """What is used of one limit; no limit means unlimited."""

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
    """Executions are those counted and those still under way; e-mails are those sent."""

    soft: Use
    hard: Use
    emails: Use


def month_use(organization: Organization, month: date | None = None) -> MonthUse:
    row = UsageMonth.objects.filter(organization=organization, month=month or this_month()).first()
    executions, emails = (row.reserved, row.emails) if row else (0, 0)
    return MonthUse(
        soft=Use(executions, organization.soft_limit),
        hard=Use(executions, organization.hard_limit),
        emails=Use(emails, organization.email_limit),
    )

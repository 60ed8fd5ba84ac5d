"""E-mails to the owners of an organization when a limit of the month is near or reached.

A housekeeping task looks once a minute. Each owner is told once a month about each level of each limit, however many
clusters run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connections
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from connectors.sdk.call import Message, StepError
from executions.ports.mail import deliver
from projects.models import LimitNotice, Membership, Organization, Project, UsageMonth, this_month
from projects.month_use import NEAR_PERCENT

logger = logging.getLogger(__name__)

LEVELS = (100, NEAR_PERCENT)  # percent of a limit
BUDGET_S = 20.0  # seconds after which a look begins no further e-mail; the next look goes on
WAIT_S = 35.0  # seconds that the task waits for its look: an e-mail may take 10 s, and finding its server as long
LOOK_ENDS_IN = timedelta(minutes=2)  # no look lasts longer: django-q2 ends a task after one minute (Q_CLUSTER.timeout)
NEVER = datetime.min.replace(tzinfo=UTC)
NOTICE_KEY = ("organization", "limit", "percent")
Limit = LimitNotice.Limit
COLUMNS = {Limit.SOFT: "soft_limit", Limit.HARD: "hard_limit", Limit.EMAIL: "email_limit"}
EFFECTS = {
    Limit.SOFT: "a banner appears, and executions continue",
    Limit.HARD: "new requests to trigger URLs are refused with 429, and accepted executions still finish",
    Limit.EMAIL: "an execution that reaches an e-mail step ends Partially Executed",
}
TEXT = """\
{organization} has used {used:,} of {most:,} {what} in {month:%B %Y}: {share} % of its {limit}.

{since}, until {until:%-d %B %Y}, 00:00 UTC: {effect}.

See the current usage: {url}

AgentOS sends this e-mail to the owners of {organization} when a limit is near, and again when it is reached.
"""


@dataclass(frozen=True, slots=True)
class Notice:
    """One limit of an organization, with its use in a month that has reached a level."""

    organization: Organization
    month: date
    limit: LimitNotice.Limit
    used: int
    most: int

    @property
    def percent(self) -> int:
        return 100 if self.used >= self.most else NEAR_PERCENT

    def send(self, deadline: float) -> bool:
        """Send the e-mail to each owner who has not had it; return whether one was sent.

        No e-mail begins after `deadline` (monotonic time). A later look tells the owners who are left.
        """
        owners = self._owners()
        if not owners or (notice := self._reserve()) is None:
            return False
        before = len(notice.told)
        if self._tell_owners(notice, owners, deadline) and notice.told:
            self._mark_told()
        else:
            notice.again_at = timezone.now()
            notice.save(update_fields=["again_at"])
        return len(notice.told) > before

    def _owners(self) -> list[tuple[int, str]]:
        owners = Membership.objects.filter(organization=self.organization, role=Membership.Role.OWNER)
        active = User.objects.filter(is_active=True, pk__in=owners.values("user")).exclude(email="")
        return list(active.order_by("pk").values_list("pk", "email"))

    def _reserve(self) -> LimitNotice | None:
        """Reserve this level for this look and return its row; None when another look has it or all owners are told.

        The reservation ends after LOOK_ENDS_IN, in case the process of this look dies.
        """
        now = timezone.now()
        notice, is_new = LimitNotice.objects.get_or_create(
            **self._key(self.percent), defaults={"again_at": now + LOOK_ENDS_IN}
        )
        if is_new:
            return notice
        if notice.again_at is None or notice.again_at > now:
            return None
        # By compare-and-set: another look may have taken the row since it was read, and told owners.
        free = LimitNotice.objects.filter(pk=notice.pk, again_at=notice.again_at)
        return notice if free.update(again_at=now + LOOK_ENDS_IN) else None

    def _tell_owners(self, notice: LimitNotice, owners: list[tuple[int, str]], deadline: float) -> bool:
        """Send the e-mails that are due; return False if some must wait for a later look.

        An owner whose address is refused is left out. When the mail server fails, no other owner is tried.
        """
        for owner, address in owners:
            if owner in notice.told:
                continue
            if time.monotonic() > deadline:
                return False
            try:
                message = Message(to=[address], cc=[], bcc=[], subject=self.subject, text=self.text)
                deliver(message, using="notices")
            except StepError as error:
                logger.error(
                    "an owner of organization %s could not be told about a limit: %s", self.organization.pk, error.code
                )
                if error.code == "mail_server":
                    return False
                continue
            notice.told.append(owner)
            notice.save(update_fields=["told"])
        return True

    def _mark_told(self) -> None:
        """Mark this level as told, and with it the level below, about which an e-mail would be stale news."""
        for level in (level for level in LEVELS if level <= self.percent):
            LimitNotice.objects.update_or_create(**self._key(level), defaults={"again_at": None})

    def _key(self, level: int) -> dict[str, Any]:
        return {"organization": self.organization, "month": self.month, "limit": self.limit, "percent": level}

    @property
    def subject(self) -> str:
        state = "reached" if self.percent == 100 else f"{self.percent} % used"
        return " ".join(f"{self.organization.name}: {self.limit.label}, {state}".split())

    @property
    def text(self) -> str:
        return TEXT.format(
            organization=self.organization.name,
            used=self.used,
            most=self.most,
            what="e-mails" if self.limit is Limit.EMAIL else "executions",
            month=self.month,
            share=100 * self.used // self.most,
            limit=self.limit.label,
            since="Now" if self.percent == 100 else "At 100 %",
            until=(self.month + timedelta(days=31)).replace(day=1),
            effect=EFFECTS[self.limit],
            url=self._url(),
        )

    def _url(self) -> str:
        project = Project.objects.kept().filter(organization=self.organization).order_by("pk").first()
        path = reverse("executions:usage", args=[project.pk]) if project else reverse("projects:list")
        return f"{settings.BASE_URL}{path}"


class Looks:
    """Has each look in a thread of its own, one at a time.

    A task that hangs is killed with its worker, and the engine in there; a thread is left alone instead.
    """

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.sent = 0

    def look(self) -> str:
        """Send the due notices; return a summary, after WAIT_S at the latest."""
        if self.thread is not None and self.thread.is_alive():
            return "the look before this one has not ended"
        self.thread = threading.Thread(target=self._look, name="limit-notices", daemon=True)
        self.thread.start()
        self.thread.join(WAIT_S)
        if self.thread.is_alive():
            logger.error("the mail server keeps e-mails about limits waiting")
            return "the look goes on"
        return f"{self.sent} notices sent"

    def _look(self) -> None:
        self.sent = 0
        try:
            self.sent = send_due_notices()
        except Exception:
            logger.exception("a look for limits failed")
        finally:
            connections.close_all()


looks = Looks()


def send_due_notices() -> int:
    """Send the due notices, for BUDGET_S at most; return the number of notices that an owner got."""
    deadline, sent = time.monotonic() + BUDGET_S, 0
    for notice in due_notices():
        if time.monotonic() > deadline:
            break
        sent += notice.send(deadline)
    return sent


def due_notices() -> list[Notice]:
    """Return the limits of this month that are near or reached and of which not all owners are told.

    Those that no look has tried come first, then those whose last try is longest ago: one owner's mail server cannot
    keep the others from being told.

    It takes two queries, however many organizations there are. The e-mails about limits are not sent by steps, so they
    do not count against the month's maximum of e-mails.
    """
    month = this_month()
    near = Q()
    for limit, column in COLUMNS.items():
        nearly = F(f"organization__{column}") * (
            (NEAR_PERCENT - 1) / 100
        )  # a little too low: _notices_of compares exactly, in integers
        near |= Q((f"organization__{column}__gt", 0), (f"{_counter(limit)}__gte", nearly))
    rows = list(UsageMonth.objects.filter(near, month=month).select_related("organization"))
    notices = LimitNotice.objects.filter(month=month, organization__in=[row.organization_id for row in rows])
    tried = {tuple(key): again_at for *key, again_at in notices.values_list(*NOTICE_KEY, "again_at")}
    now = timezone.now()

    def last_try(notice: Notice) -> datetime | None:
        """Return None when all are told, or another look has the notice."""
        again_at = tried.get((notice.organization.pk, notice.limit.value, notice.percent), NEVER)
        return again_at if again_at is not None and again_at <= now else None

    due = [(tried_at, notice) for row in rows for notice in _notices_of(row) if (tried_at := last_try(notice))]
    return [notice for _, notice in sorted(due, key=lambda one: one[0])]


def _notices_of(row: UsageMonth) -> Iterator[Notice]:
    for limit, column in COLUMNS.items():
        used, most = getattr(row, _counter(limit)), getattr(row.organization, column)
        if most and 100 * used >= NEAR_PERCENT * most:
            yield Notice(row.organization, row.month, limit, used, most)


def _counter(limit: LimitNotice.Limit) -> str:
    return "emails" if limit is Limit.EMAIL else "reserved"

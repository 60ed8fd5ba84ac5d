"""Counters of what organizations use, and notices about limits. Pages sum the counters: no executions are counted."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime

from django.db import models
from django.utils import timezone

from projects.models.organization import Organization


def this_month() -> date:
    """Return the first day of the current UTC month: limits are monthly in UTC."""
    return datetime.now(UTC).date().replace(day=1)


class UsageMonth(models.Model):
    """What an organization has reserved of its monthly limits.

    `reserved` is the number of accepted executions, whether they have ended or not. It grows by one conditional UPDATE
    (executions/store/limit_counters.py) before an execution exists, so a limit is never exceeded.
    """

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="usage_months")
    month = models.DateField()
    reserved = models.PositiveIntegerField(default=0)
    emails = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "month"], name="one_usage_row_a_month")]


class LimitNotice(models.Model):
    """That an organization's owners were told of one limit at one level in one month.

    The constraint lets only one of several clusters make the row, so every owner gets one e-mail.
    """

    class Limit(models.TextChoices):
        SOFT = "soft", "soft limit of executions"
        HARD = "hard", "hard limit of executions"
        EMAIL = "email", "maximum of e-mails"

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+")
    month = models.DateField()
    limit = models.CharField(max_length=10, choices=Limit)
    percent = models.SmallIntegerField()  # 80 or 100
    told = models.JSONField(default=list, db_default=[])  # ids of the owners told so far, until all are
    again_at = models.DateTimeField(null=True)  # when the next look may tell the others; None: this level is done
    sent_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "month", "limit", "percent"], name="one_notice_a_level")
        ]


class UsageDay(models.Model):
    """Executions counted, by the UTC day on which they were accepted and the first final status that they reached.

    Engines are spread over shards, so that they seldom wait for each other's lock on a row: sum over them.
    """

    organization_id: uuid.UUID
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+", db_constraint=False)
    project = models.ForeignKey("projects.Project", models.DO_NOTHING, related_name="+", db_constraint=False)
    automation_id = models.UUIDField()
    day = models.DateField()
    status = models.SmallIntegerField()
    shard = models.SmallIntegerField()
    count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "day", "automation_id", "status", "shard"], name="one_usage_row_a_day"
            )
        ]

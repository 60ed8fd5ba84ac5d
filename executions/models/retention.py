from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db import models
from django.utils import timezone

from executions.models.execution import Execution
from executions.models.reference import reference
from projects.ids import just_before, new_id
from projects.models import Organization

STALE_AFTER = timedelta(minutes=2)  # without a beat, after which a round's process counts as dead
WALK_EVERY = timedelta(hours=1)  # between the walks through a project's executions


class RetentionRun(models.Model):
    """One round of retention and its progress. At most one round that removes anything is under way."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    started_at = models.DateTimeField(default=timezone.now)
    beat_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    is_dry_run = models.BooleanField(default=False)
    is_complete = models.BooleanField(default=False)  # False: the next round goes on where this one stopped
    organization: models.ForeignKey[Organization | None] = reference(Organization, db_index=False, null=True)
    keep_count = models.PositiveIntegerField(null=True)  # the organization's number when `count_before` was found
    count_before = models.UUIDField(null=True)  # its oldest execution kept by number, for which all kept ones are read
    executions = models.BigIntegerField(default=0)
    payloads = models.BigIntegerField(default=0)  # executions whose payloads were removed
    receipts = models.BigIntegerField(default=0)
    deliveries = models.BigIntegerField(default=0)
    firings = models.BigIntegerField(default=0)
    automations = models.IntegerField(default=0)
    projects = models.IntegerField(default=0)
    pages = models.BigIntegerField(default=0)  # of SQLite's file, given back to the disk
    partitions = models.TextField(blank=True)  # names of those dropped, comma-separated
    error = models.TextField(blank=True)

    COUNTED = ("executions", "payloads", "receipts", "deliveries", "firings", "automations", "projects", "pages")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["is_dry_run"], condition=models.Q(finished_at=None, is_dry_run=False), name="one_retention_run"
            )
        ]
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{'dry run' if self.is_dry_run else 'run'} of {self.started_at:%Y-%m-%d %H:%M}"

    @property
    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.COUNTED}


class RetentionMark(models.Model):
    """The execution up to which a project's payloads are removed, and the position of the walk that removes more.

    An execution that has not ended holds the mark back, but not the walk; the next walk, an hour later, finds it again.
    """

    project_id = models.UUIDField(primary_key=True)
    payloads_before = models.UUIDField()  # older executions need no second look
    reached = models.UUIDField(null=True)  # the last execution that this walk has looked at
    walked_at = models.DateTimeField(null=True)  # when the walk ended; empty while it is under way

    def set_out(self, now: datetime, *, is_new_series: bool) -> uuid.UUID:
        """Return the id after which the walk goes on; when another walk is due, it begins at the mark."""
        if self.reached is None or (self.walked_at and (is_new_series or now - self.walked_at > WALK_EVERY)):
            self.reached, self.walked_at = just_before(self.payloads_before), None
        return self.reached

    def advance(self) -> None:
        """Move the mark to the first execution whose payloads are left.

        It had not ended, or was locked when the walk passed.
        """
        passed = Execution.objects.filter(project=self.project_id, id__gte=self.payloads_before, id__lte=self.reached)
        left = passed.filter(payloads_removed_at=None).order_by("id").values_list("id", flat=True)
        self.payloads_before = left.first() or max(self.payloads_before, self.reached or self.payloads_before)
        self.save()

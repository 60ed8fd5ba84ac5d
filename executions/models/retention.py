from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db import models
from django.utils import timezone

from executions.models.execution import Execution
from executions.models.reference import reference
from projects.ids import just_before, new_id
from projects.models import Organization

STALE_AFTER = timedelta(minutes=2)
WALK_EVERY = timedelta(hours=1)


class RetentionRun(models.Model):
    """One round of retention and how far it got. At most one that removes anything is under way."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    started_at = models.DateTimeField(default=timezone.now)
    beat_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    is_dry_run = models.BooleanField(default=False)
    is_complete = models.BooleanField(default=False)  # else the next one goes on where this one stopped
    organization: models.ForeignKey[Organization | None] = reference(Organization, db_index=False, null=True)
    keep_count = models.PositiveIntegerField(null=True)  # of that organization, when `count_before` was found:
    count_before = models.UUIDField(null=True)  # its oldest that is kept; it takes a look at all that are
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
    """Up to where a project's payloads are removed, and where the walk stands that removes more of them.

    One that has not ended holds the mark back, but not the walk: the next one, an hour later, comes by again.
    """

    project_id = models.UUIDField(primary_key=True)
    payloads_before = models.UUIDField()  # what is older need not be looked at again
    reached = models.UUIDField(null=True)  # the last one that this walk has looked at
    walked_at = models.DateTimeField(null=True)  # when a walk came to its end; empty: it is under way

    def set_out(self, now: datetime, *, is_new_series: bool) -> uuid.UUID:
        """Return the id after which to go on: at the mark when it is time for another walk."""
        if self.reached is None or (self.walked_at and (is_new_series or now - self.walked_at > WALK_EVERY)):
            self.reached, self.walked_at = just_before(self.payloads_before), None
        return self.reached

    def advance(self) -> None:
        """Move up to the first whose payloads are still there: not ended, or locked by somebody when we came by."""
        passed = Execution.objects.filter(project=self.project_id, id__gte=self.payloads_before, id__lte=self.reached)
        left = passed.filter(payloads_removed_at=None).order_by("id").values_list("id", flat=True)
        self.payloads_before = left.first() or max(self.payloads_before, self.reached or self.payloads_before)
        self.save()

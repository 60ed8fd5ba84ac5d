from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils import timezone

from executions.models.reference import reference
from projects.ids import new_id
from projects.models import Organization

STALE_AFTER = timedelta(minutes=2)


class RetentionRun(models.Model):
    """One round of retention and how far it got. At most one that removes anything is under way."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    started_at = models.DateTimeField(default=timezone.now)
    beat_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    is_dry_run = models.BooleanField(default=False)
    is_complete = models.BooleanField(default=False)  # else the next one goes on where this one stopped
    organization: models.ForeignKey[Organization | None] = reference(Organization, db_index=False, null=True)
    executions = models.BigIntegerField(default=0)
    payloads = models.BigIntegerField(default=0)  # executions whose payloads were removed
    receipts = models.BigIntegerField(default=0)
    deliveries = models.BigIntegerField(default=0)
    slots = models.BigIntegerField(default=0)
    automations = models.IntegerField(default=0)
    projects = models.IntegerField(default=0)
    pages = models.BigIntegerField(default=0)  # of SQLite's file, given back to the disk
    partitions = models.TextField(blank=True)  # names of those dropped, comma-separated
    error = models.TextField(blank=True)

    COUNTED = ("executions", "payloads", "receipts", "deliveries", "slots", "automations", "projects", "pages")

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
    """Up to where a project's payloads are removed: what is older need not be looked at again."""

    project_id = models.UUIDField(primary_key=True)
    payloads_before = models.UUIDField()

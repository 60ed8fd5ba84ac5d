from __future__ import annotations

from django.db import models


class Pace(models.Model):
    """The progress of an organization's starts: one row, locked to assign or claim the next start."""

    organization_id = models.UUIDField(primary_key=True)
    throttle_at = models.DateTimeField()  # when the throttled lane made its last start
    direct_minute = models.DateTimeField()  # the minute to which direct starts are being assigned
    direct_used = models.IntegerField(default=0)  # direct starts assigned to that minute


class Firing(models.Model):
    """One fire time of a schedule and its execution; the key forbids a second one, over any number of clusters."""

    pk = models.CompositePrimaryKey("trigger_id", "fires_at")
    trigger_id = models.CharField(max_length=32)
    fires_at = models.DateTimeField()
    organization_id = models.UUIDField()
    execution_id = models.UUIDField()

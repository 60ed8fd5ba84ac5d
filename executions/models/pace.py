from __future__ import annotations

from django.db import models


class Pace(models.Model):
    """How far an organization's starts have got: one row, locked by whoever places or claims the next."""

    organization_id = models.UUIDField(primary_key=True)
    throttle_at = models.DateTimeField()  # when the throttled lane started its last one
    direct_minute = models.DateTimeField()  # the minute that direct starts are being placed in
    direct_used = models.IntegerField(default=0)  # of that minute


class Firing(models.Model):
    """One fire time of a schedule and the execution that it made: never two, over any number of clusters."""

    pk = models.CompositePrimaryKey("trigger_id", "fires_at")
    trigger_id = models.CharField(max_length=32)
    fires_at = models.DateTimeField()
    organization_id = models.UUIDField()
    execution_id = models.UUIDField()

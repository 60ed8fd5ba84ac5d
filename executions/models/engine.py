from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from executions.store.leases import STALE_AFTER_S
from projects.ids import new_id

SILENCE = timedelta(seconds=STALE_AFTER_S)
# The condition for engines with a lease. One whose beat lies ahead has not beaten since the clock was set back.
ALIVE = Q(beat_at__gte=Now() - SILENCE, beat_at__lte=Now() + SILENCE)


class Engine(models.Model):
    """One engine in one worker process. Its row is the lease of all executions that it runs."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    host = models.CharField(max_length=200)
    boot_id = models.CharField(max_length=64)  # of the machine's start and PID namespace: there a pid names one process
    pid = models.IntegerField()
    started_at = models.DateTimeField(default=timezone.now)
    beat_at = models.DateTimeField(default=timezone.now)  # when the lease was renewed last
    running = models.IntegerField(default=0)
    holders = models.TextField(default="{}", db_default="{}")  # JSON: the slots of those organizations that have most
    held_kb = models.IntegerField(default=0, db_default=0)  # large data of its executions, as weighed
    rss_kb = models.IntegerField(default=0)
    is_stopping = models.BooleanField(default=False)
    is_quarantine = models.BooleanField(default=False, db_default=False)  # it runs suspects only

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class Trouble(models.Model):
    """Why the cluster of a host has no engine. It is out of date as soon as engines run."""

    host = models.CharField(max_length=200, primary_key=True)
    sentence = models.TextField()
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.sentence

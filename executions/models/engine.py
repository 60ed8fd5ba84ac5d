from __future__ import annotations

from django.db import models
from django.utils import timezone

from projects.ids import new_id


class Engine(models.Model):
    """One engine in one worker process. The row is the lease of everything that it runs."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    host = models.CharField(max_length=200)
    boot_id = models.CharField(max_length=64)
    pid = models.IntegerField()
    started_at = models.DateTimeField(default=timezone.now)
    beat_at = models.DateTimeField(default=timezone.now)
    running = models.IntegerField(default=0)
    rss_kb = models.IntegerField(default=0)
    is_stopping = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

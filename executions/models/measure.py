from __future__ import annotations

from django.db import models


class Measure(models.Model):
    """A histogram's bucket, summed over all processes and restarts, for /metrics."""

    pk = models.CompositePrimaryKey("name", "label", "bucket")
    name = models.CharField(max_length=40)
    label = models.CharField(max_length=50, blank=True)
    bucket = models.SmallIntegerField()  # position of its upper bound; the last one has none
    count = models.BigIntegerField(default=0)
    seconds = models.FloatField(default=0)

from __future__ import annotations

from django.db import models


class Measure(models.Model):
    """One bucket of a histogram for /metrics, summed over all processes and restarts."""

    pk = models.CompositePrimaryKey("name", "label", "bucket")
    name = models.CharField(max_length=40)
    label = models.CharField(max_length=50, blank=True)
    bucket = models.SmallIntegerField()  # the position of its upper bound; the last bucket has none
    count = models.BigIntegerField(default=0)
    seconds = models.FloatField(default=0)

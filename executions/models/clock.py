from __future__ import annotations

from django.db import models


class Clock(models.Model):
    """One row: the time that the database's clock has shown last, by which engines notice that it was set back."""

    id = models.SmallIntegerField(primary_key=True)
    seen_at = models.DateTimeField()

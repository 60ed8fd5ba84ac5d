"""A round of retention, and what it has left."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from executions.housekeeping import retention
from executions.models import Execution, RetentionRun


def ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


def remove(**options: Any) -> RetentionRun:
    """Perform one round and return what it recorded."""
    run = retention.begin(is_dry_run=options.pop("is_dry_run", False))
    retention.perform(run, **options)
    return RetentionRun.objects.get(pk=run.pk)


def left(*executions: Execution) -> list[bool]:
    """Return for each execution whether it is still there."""
    return [Execution.objects.filter(pk=execution.pk).exists() for execution in executions]

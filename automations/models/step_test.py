"""What the builder's Test button left behind for the trigger and each step."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from automations.models.automation import Automation


class StepTest(models.Model):
    """The last test of the draft's trigger or of one of its steps: the steps after it take its output as sample data.

    A test is no execution: it is not in the log and counts towards no limit.
    """

    automation = models.ForeignKey(Automation, models.CASCADE, related_name="step_tests")
    step_key = models.CharField(max_length=64)
    fingerprint = models.CharField(
        max_length=64, help_text="Identifies the tested configuration. A different value means untested."
    )
    is_success = models.BooleanField()
    input = models.TextField(blank=True, help_text="JSON text, secrets masked.")
    output = models.TextField(blank=True, help_text="JSON text, secrets masked.")
    error = models.TextField(blank=True)
    duration_ms = models.PositiveIntegerField(default=0)
    tested_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["automation", "step_key"], name="one_test_a_step")]

"""What a builder designs: automation, version, trigger, schedule, step test."""

from __future__ import annotations

from automations.models.automation import Automation, AutomationQuerySet, NotReady, StaleDraft, Version
from automations.models.step_test import StepTest
from automations.models.trigger import Schedule, Trigger, new_trigger_uid

__all__ = [
    "Automation", "AutomationQuerySet", "NotReady", "Schedule", "StaleDraft", "StepTest", "Trigger", "Version",
    "new_trigger_uid",
]  # fmt: skip

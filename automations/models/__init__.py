"""What a builder designs: automation, version, trigger, schedule, step test."""

from __future__ import annotations

from automations.models.automation import (
    Automation,
    AutomationQuerySet,
    NotReady,
    Schedule,
    StaleDraft,
    StepTest,
    Trigger,
    Version,
    new_trigger_uid,
)  # fmt: skip

__all__ = [
    "Automation", "AutomationQuerySet", "NotReady", "Schedule", "StaleDraft", "StepTest", "Trigger", "Version",
    "new_trigger_uid",
]  # fmt: skip

from __future__ import annotations

from django.db import models

from automations.models import Automation, Trigger
from executions.models.reference import reference
from projects.ids import new_id
from projects.models import Organization, Project


class Receipt(models.Model):
    """What became of a request at a trigger URL that made no execution; an execution is its own receipt."""

    class Outcome(models.TextChoices):
        CONDITIONS_NOT_MET = "conditions_not_met", "Conditions not met"
        REFUSED = "refused", "Refused"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = reference(Organization, db_index=False)
    project = reference(Project, db_index=False)
    automation = reference(Automation, db_index=False)
    trigger = reference(Trigger, db_index=False)
    outcome = models.CharField(max_length=20, choices=Outcome)
    code = models.CharField(max_length=40, blank=True)
    reason = models.TextField(blank=True)

    class Meta:
        indexes = [models.Index(fields=["automation", "-id"], name="receipt_log")]

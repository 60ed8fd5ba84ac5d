from __future__ import annotations

from django.db import models

from automations.models import Automation, Trigger
from executions.models.reference import reference
from projects.ids import new_id
from projects.models import Organization, Project


class Outcome(models.TextChoices):
    """The outcome of a request at a trigger URL."""

    EXECUTED = "executed", "Executed"
    CONDITIONS_NOT_MET = "conditions_not_met", "Conditions not met"
    DUPLICATE = "duplicate", "Duplicate"
    REFUSED = "refused", "Refused"


class Receipt(models.Model):
    """The outcome of a request at a trigger URL that made no execution; an execution is its own receipt."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = reference(Organization, db_index=False)
    project = reference(Project, db_index=False)
    automation = reference(Automation, db_index=False)
    trigger = reference(Trigger, db_index=False)
    outcome = models.CharField(max_length=20, choices=Outcome)
    http_status = models.SmallIntegerField(default=200, db_default=200)
    code = models.CharField(max_length=40, blank=True)
    reason = models.TextField(blank=True)
    execution_id = models.UUIDField(null=True)  # of a duplicate: the first delivery's execution

    class Meta:
        indexes = [
            models.Index(fields=["automation", "-id"], name="receipt_log"),
            models.Index(fields=["automation", "outcome", "-id"], name="receipt_outcome"),
        ]


class ReceiptDay(models.Model):
    """The number of requests at an automation's trigger URLs by UTC day and outcome; add the shards up."""

    organization = reference(Organization, db_index=False)
    automation = reference(Automation, db_index=False)
    day = models.DateField()
    outcome = models.CharField(max_length=20, choices=Outcome)
    shard = models.SmallIntegerField()
    count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["automation", "day", "outcome", "shard"], name="one_receipt_row_a_day")
        ]


class Delivery(models.Model):
    """A sender's id of a delivery, which makes one execution within the organization's window."""

    pk = models.CompositePrimaryKey("trigger_id", "key")
    trigger_id = models.CharField(max_length=32)
    key = models.CharField(max_length=300)
    organization_id = models.UUIDField()
    fingerprint = models.CharField(max_length=64)  # SHA-256 of method, query and body
    execution_id = models.UUIDField()
    expires_at = models.DateTimeField(db_index=True)

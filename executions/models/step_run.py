from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models

from connectors.sdk.call import JSON
from executions import sealed_json
from executions.models.reference import reference
from executions.states import StepStatus


def length(start: datetime | None, end: datetime | None) -> timedelta | None:
    """Return how long something took, at least nothing: a clock may have been set back meanwhile."""
    return max(end - start, timedelta()) if start and end else None


class StepRun(models.Model):
    """One step in one attempt (and one iteration). The trigger is step run 0, of attempt 0: all attempts share it.

    `input` and `output` are exact JSON text as `sealed_json` stores it, secrets sealed; above sealed_json.ROW_LIMIT
    they are an excerpt, and Payload holds the whole.
    """

    TRIGGER = "trigger"

    pk = models.CompositePrimaryKey("execution_id", "attempt", "key", "iteration")
    execution = reference("executions.Execution", db_index=False)
    attempt = models.SmallIntegerField()
    key = models.CharField(max_length=64)
    iteration = models.CharField(max_length=32, blank=True)
    organization_id = models.UUIDField()
    position = models.SmallIntegerField()
    status = models.SmallIntegerField(choices=StepStatus)
    connector = models.CharField(max_length=50)
    action = models.CharField(max_length=50)
    title = models.CharField(max_length=200, blank=True)
    tries = models.SmallIntegerField(default=1)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    resume_at = models.DateTimeField(null=True)
    input = models.TextField(null=True)
    input_bytes = models.IntegerField(default=0)
    output = models.TextField(null=True)
    output_bytes = models.IntegerField(default=0)
    error_code = models.CharField(max_length=40, blank=True)
    error = models.TextField(blank=True)
    is_external = models.BooleanField(default=False)  # the cause lies in another service: the builder cannot repair it

    @property
    def state(self) -> StepStatus:
        return StepStatus(self.status)

    @property
    def is_trigger(self) -> bool:
        return self.attempt == 0

    @property
    def duration(self) -> timedelta | None:
        return length(self.started_at, self.finished_at)

    def is_removed(self, side: str) -> bool:
        """Return whether retention has removed the "input" or "output", of which it leaves the size."""
        return getattr(self, side) is None and getattr(self, f"{side}_bytes") > 0

    def shown(self, side: str) -> str | None:
        """Return the whole "input" or "output" as JSON text for people, secrets masked; None when none is stored."""
        text = getattr(self, side)
        if text is not None and getattr(self, f"{side}_bytes") > sealed_json.ROW_LIMIT:
            whole = Payload.objects.filter(
                execution_id=self.execution_id,
                attempt=self.attempt,
                key=self.key,
                iteration=self.iteration,
                side=side,
            )
            text = whole.values_list("body", flat=True).first()  # None when retention has removed it meanwhile
        return sealed_json.shown(text) if text is not None else None

    def shown_value(self, side: str) -> JSON:
        """Return the value of `shown`: the "input" or "output" with secrets masked; None for a damaged one, too."""
        text = self.shown(side)
        try:
            return sealed_json.loads(text) if text is not None else None
        except ValueError:
            return None


class Payload(models.Model):
    """The whole input or output that is too large for its step run's row."""

    pk = models.CompositePrimaryKey("execution_id", "attempt", "key", "iteration", "side")
    execution = reference("executions.Execution", db_index=False)
    attempt = models.SmallIntegerField()
    key = models.CharField(max_length=64)
    iteration = models.CharField(max_length=32, blank=True)
    side = models.CharField(max_length=6, choices=[("input", "Input"), ("output", "Output")])
    organization_id = models.UUIDField()
    body = models.TextField()

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from automations.models import Automation, Trigger, Version
from executions.models.reference import reference
from executions.models.retry import RetryRefused, refusal_of
from executions.models.step_run import StepRun, length
from executions.states import ATTEMPT_LIMIT, FINAL, Kind, Lane, Status, check_move
from executions.store import store
from executions.store.rows import direct_limit_reason
from projects.ids import first_id_at, made_at, new_id
from projects.models import Asker, Organization, Project


class ExecutionQuerySet(models.QuerySet["Execution"]):
    def for_user(self, user: Asker) -> Self:
        return self.filter(project__in=Project.objects.for_user(user))

    def with_status(self, *statuses: Status) -> Self:
        found = self.filter(status__in=statuses)
        if len(statuses) == 1 and Status.SUCCESS not in statuses:
            # The condition of the partial indexes: SQLite does not conclude it from the status.
            found = found.filter(~Q(status=Status.SUCCESS))
        return found

    def between(self, start: datetime | None, end: datetime | None) -> Self:
        """Return the executions accepted from `start` until before `end`: a range of ids, which begin with the time."""
        query = self
        if start:
            query = query.filter(id__gte=first_id_at(start))
        if end:
            query = query.filter(id__lt=first_id_at(end))
        return query

    def for_list(self) -> Self:
        # A list shows the automation's name, but none of its steps.
        return self.select_related("automation").defer("automation__draft")

    def newest_first(self, *, before: uuid.UUID | None = None) -> Self:
        """Return the executions in the log's order; `before` is the cursor, the id of the last row shown."""
        query = self.filter(id__lt=before) if before else self
        return query.order_by("-id")


class Execution(models.Model):
    """One invocation of one automation, with all its attempts. The row is small: payloads live in its step runs."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = reference(Organization, db_index=False)
    project = reference(Project, db_index=False)
    automation = reference(Automation, db_index=False)
    version = reference(Version, db_index=False)
    trigger = reference(Trigger, db_index=False, null=True)
    kind = models.SmallIntegerField(choices=Kind, default=Kind.AUTOMATION)
    parent_id = models.UUIDField(null=True)
    status = models.SmallIntegerField(choices=Status, default=Status.PENDING)
    lane = models.SmallIntegerField(choices=Lane, default=Lane.DIRECT)
    reason_code = models.CharField(max_length=40, blank=True)
    reason = models.TextField(blank=True)
    attempt = models.SmallIntegerField(default=1)
    claim = models.IntegerField(default=0)  # fencing token: an engine with an older one has lost the execution
    deaths = models.SmallIntegerField(default=0)  # deaths of engines that count against it; the third rejects it
    suspicion = models.SmallIntegerField(db_default=0)  # 2 make a suspect, from 4 on it runs alone (store.rows)
    engine_id = models.UUIDField(null=True)
    run_at = models.DateTimeField(default=timezone.now)
    # Whether a free slot is all that it waits for. Those that wait for run_at or in a line are kept out of the claims'
    # index, so that a claim passes by none of them. True by mistake is harmless, as claims compare run_at as well.
    is_due = models.BooleanField(default=True, db_default=True)
    time_limit_s = models.PositiveIntegerField(default=300)
    ran_ms = models.PositiveIntegerField(default=0)  # milliseconds of the allotted time, until the last pause
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    steps = models.SmallIntegerField(default=0)
    connectors = models.CharField(max_length=200, blank=True)  # keys, comma-separated, in order of first use
    is_counted = models.BooleanField(default=False)
    # A request to stop this attempt (executions/stop.py); kept when it comes too late.
    stop_code = models.CharField(max_length=40, null=True)
    stop_reason = models.TextField(null=True)
    payloads_removed_at = models.DateTimeField(null=True)  # by retention, which keeps the row for longer
    rev = models.IntegerField(default=1)  # grows with every visible change of this row

    objects = ExecutionQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(
                fields=["organization", "lane", "run_at", "id"],
                name="execution_share",
                condition=Q(status__in=[0, 2], is_due=True),
            ),
            models.Index(
                fields=["lane", "run_at"], name="execution_later", condition=Q(status__in=[0, 2], is_due=False)
            ),
            models.Index(
                fields=["organization", "run_at", "id"], name="execution_throttled", condition=Q(status=0, lane=2)
            ),
            models.Index(fields=["automation", "run_at", "id"], name="execution_line", condition=Q(status=0, lane=2)),
            models.Index(fields=["run_at"], name="execution_suspect", condition=Q(status=0, suspicion__gte=2)),
            models.Index(fields=["engine_id"], name="execution_of_engine", condition=Q(status=1)),
            models.Index(fields=["project", "-id"], name="execution_log"),
            models.Index(fields=["automation", "-id"], name="execution_log_automation"),
            models.Index(fields=["project", "status", "-id"], name="execution_log_status", condition=~Q(status=3)),
            models.Index(fields=["automation", "status", "-id"], name="execution_log_both", condition=~Q(status=3)),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def state(self) -> Status:
        return Status(self.status)

    @property
    def accepted_at(self) -> datetime:
        return made_at(self.id)

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def is_stopping(self) -> bool:
        """Return whether it is to stop and has not yet."""
        return self.stop_code is not None and not self.is_final

    @property
    def duration(self) -> timedelta | None:
        """Return how long the current attempt took, or None while it lasts."""
        return length(self.started_at, self.finished_at)

    @property
    def retries_left(self) -> int:
        return max(0, ATTEMPT_LIMIT - self.attempt)

    @property
    def offers_info(self) -> bool:
        return self.state is Status.FAILED and self.retries_left > 0

    @property
    def connector_keys(self) -> list[str]:
        return [key for key in self.connectors.split(",") if key]

    def step_runs_of(self, attempt: int) -> models.QuerySet[StepRun]:
        """Return an attempt's step runs in order, the trigger's first."""
        return StepRun.objects.filter(execution_id=self.id, attempt__in=[0, attempt]).order_by("attempt", "position")

    def retry_refusal(self) -> RetryRefused | None:
        """Return why Retry Execution would be refused now, or None."""
        return refusal_of(self, self.automation)

    def retry(self, user: Asker | None) -> None:
        """Start the next attempt in the same row, with the stored payload and the live version; raise RetryRefused."""
        with transaction.atomic():
            # Locked, so that a deactivation is either seen here or comes after this start.
            automation = Automation.objects.select_for_update().get(pk=self.automation_id)
            current = Execution.objects.select_related("version", "trigger").get(pk=self.pk)
            if refusal := refusal_of(current, automation):
                raise refusal
            check_move(Status.FAILED, Status.PENDING)
            unchanged = Execution.objects.filter(pk=self.pk, status=Status.FAILED, attempt=self.attempt)
            changed = unchanged.filter(payloads_removed_at=None).update(
                status=Status.PENDING, version=automation.live_version_id, attempt=F("attempt") + 1,
                time_limit_s=min(automation.time_limit_s, self.organization.time_limit_s),
                ran_ms=0, deaths=0, suspicion=0, engine_id=None, started_at=None,
                finished_at=None, steps=0, connectors="", stop_code=None, stop_reason=None, rev=F("rev") + 1,
                **self._waiting_columns(automation),
            )  # fmt: skip
            if not changed:
                raise RetryRefused("not_retryable", "Somebody else has already retried this execution.")
            current._as_attempt(user).save(force_insert=True)
            store().notify_work()
        self.refresh_from_db()

    def _waiting_columns(self, automation: Automation) -> dict[str, Any]:
        """Return how the next attempt waits: in its organization's line, or for a minute with a direct start left."""
        lane, minute = Lane.THROTTLED if automation.is_throttled else Lane.DIRECT, None
        limit = self.organization.direct_limit
        if lane is Lane.THROTTLED:
            store().make_paces([self.organization_id])
        elif limit is not None:
            minute = store().place_direct(self.organization_id, 1, limit)[0]
        code, reason = ("direct_limit", direct_limit_reason(limit or 0)) if minute else ("", "")
        is_due = lane is Lane.DIRECT and minute is None
        run_at = minute or Now()  # the database's clock, by which claims go
        return {"lane": lane, "run_at": run_at, "is_due": is_due, "reason_code": code, "reason": reason}

    def _as_attempt(self, user: Asker | None) -> Attempt:
        """Return the attempt that this row holds, to be kept before the row holds the next one."""
        return Attempt(
            execution_id=self.pk, number=self.attempt, organization_id=self.organization_id, version_id=self.version_id,
            status=self.status, reason_code=self.reason_code, reason=self.reason, started_at=self.started_at,
            finished_at=self.finished_at, steps=self.steps, retried_by_id=user.pk if user else None,
        )  # fmt: skip


class Attempt(models.Model):
    """An earlier attempt, kept when a retry reuses the execution's row; the current attempt is that row itself."""

    pk = models.CompositePrimaryKey("execution_id", "number")
    execution = reference(Execution, db_index=False)
    number = models.SmallIntegerField()
    organization_id = models.UUIDField()
    version = reference(Version, db_index=False)
    status = models.SmallIntegerField(choices=Status)
    reason_code = models.CharField(max_length=40, blank=True)
    reason = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    steps = models.SmallIntegerField(default=0)
    retried_by = reference(settings.AUTH_USER_MODEL, db_index=False, null=True)
    retried_at = models.DateTimeField(default=timezone.now)

    @property
    def state(self) -> Status:
        return Status(self.status)

    @property
    def duration(self) -> timedelta | None:
        return length(self.started_at, self.finished_at)

"""Past executions for the demo's log, over the last days, with each status that a past execution can have.

Pending and Running are left out: an engine would start the one and recover the other.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from automations.definition import ActionStep, Definition
from automations.models import Automation, Version
from connectors.sdk.call import JSON
from executions import sealed_json
from executions.models import Attempt, Execution, Outcome, Receipt, ReceiptDay, StepRun
from executions.states import FINAL, Lane, Status, StepStatus
from projects.ids import id_at, made_at
from projects.models import UsageDay, UsageMonth

SHARD = 15  # of the counters
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
ORDER: JSON = {"id": "A-17", "customer": {"name": "Ada Lovelace"}, "total": 100}
SHAPED: JSON = {"id": "A-17", "name": "ADA LOVELACE", "total": 120}
HEADERS: JSON = {"content-type": "application/json", "user-agent": "curl/8.5.0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    status: StepStatus = StepStatus.SUCCESS
    input: JSON = None
    output: JSON = None
    error_code: str = ""
    error: str = ""
    is_external: bool = False
    took: timedelta = timedelta(milliseconds=14)
    resume_in: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """One past execution; `failures` is the number of its earlier attempts, all of them alike."""

    automation: str
    ago: timedelta
    body: JSON
    status: Status
    steps: list[Step]
    reason_code: str = ""
    reason: str = ""
    failures: int = 0
    lane: Lane = Lane.DIRECT


def unavailable(url: str) -> Step:
    output: JSON = {"status": 503, "headers": {"content-type": "application/json"}, "body": {"error": "maintenance"}}
    return Step(
        status=StepStatus.FAILED,
        input={"method": "GET", "url": url, "fail_on_error_status": True},
        output=output,
        error_code="http_503",
        error="The server answered with status 503.",
        is_external=True,
        took=timedelta(milliseconds=412),
    )


def story() -> list[Past]:
    """Return the past executions to store."""
    url = "https://api.example.com/orders/A-17"
    failed = "Step “Call the API” failed: The server answered with status 503."
    ok = Step(input={"method": "GET", "url": url}, output={"status": 200, "headers": {}, "body": {"ok": True}},
              took=timedelta(milliseconds=231))  # fmt: skip
    shaped = Step(input={"fields": SHAPED}, output=SHAPED, took=timedelta(milliseconds=2))
    mail: JSON = {"to": ["ada@example.com"], "subject": "Hello from AgentOS", "text": "It works."}
    successes = [
        Past(automation="transform", ago=day * 24 * HOUR + step * 47 * MINUTE, body=ORDER, status=Status.SUCCESS,
             steps=[shaped])
        for day, many in enumerate((3, 6, 4, 7, 2, 5))
        for step in range(1, many + 1)
    ]  # fmt: skip
    return [
        *successes,
        Past(automation="call-api", ago=26 * HOUR, body={"url": url}, status=Status.SUCCESS, steps=[ok]),
        Past(automation="respond", ago=5 * HOUR, body=ORDER, status=Status.SUCCESS, lane=Lane.SYNC,
             steps=[shaped, Step(input={"status": 200, "body": SHAPED},
                                 output={"status": 200, "headers": {}, "body": SHAPED})]),
        Past(automation="call-api", ago=22 * MINUTE, body={"url": url}, status=Status.FAILED, steps=[unavailable(url)],
             reason_code="http_503", reason=failed),
        Past(automation="call-api", ago=3 * HOUR, body={"url": url}, status=Status.FAILED, steps=[unavailable(url)],
             reason_code="http_503", reason=failed, failures=2),
        Past(automation="broken", ago=40 * MINUTE, body={"id": 1}, status=Status.FAILED,
             steps=[Step(status=StepStatus.FAILED, error_code="invalid_input", error="URL is empty.")],
             reason_code="invalid_input", reason="Step “Not configured” failed: URL is empty."),
        Past(automation="call-api", ago=8 * HOUR, body={"url": url}, status=Status.REJECTED,
             steps=[Step(status=StepStatus.REJECTED, input={"method": "GET", "url": url}, took=timedelta(seconds=300),
                         error_code="time_limit",
                         error="The execution exceeded its allotted time of 300 s in step “Call the API”.")],
             reason_code="time_limit",
             reason="The execution exceeded its allotted time of 300 s in step “Call the API”."),
        Past(automation="email", ago=30 * HOUR, body={"to": "ada@example.com"}, status=Status.PARTIALLY_EXECUTED,
             steps=[Step(status=StepStatus.PARTIALLY_EXECUTED, input=mail, error_code="email_limit",
                         error="The organization has reached its monthly e-mail maximum.")],
             reason_code="email_limit", reason="The organization has reached its monthly e-mail maximum."),
        Past(automation="wait", ago=10 * MINUTE, body={}, status=Status.PAUSED, reason_code="waiting",
             reason="The execution waits in “Wait a second”.",
             steps=[Step(status=StepStatus.PAUSED, input={"amount": 20, "unit": "days"},
                         resume_in=timedelta(days=20))]),  # so late that no engine of the demo resumes it
    ]  # fmt: skip


RECEIPTS = [
    (70 * MINUTE, Outcome.DUPLICATE, 202, "duplicate", ""),
    (
        5 * HOUR,
        Outcome.REFUSED,
        415,
        "unsupported_media_type",
        "AgentOS does not read “image/png”. Send JSON, a URL-encoded form or text.",
    ),
    (27 * HOUR, Outcome.REFUSED, 400, "invalid_json", "The body is empty."),
    (51 * HOUR, Outcome.DUPLICATE, 202, "duplicate", ""),
]


def write(automations: dict[str, Automation]) -> None:
    """Store the past executions and receipts; call it only for a project without executions."""
    now = timezone.now()
    for past in story():
        automation = automations[past.automation]
        assert automation.live_version is not None
        _Writer(past, automation, automation.live_version, now).write()
    for ago, outcome, status, code, reason in RECEIPTS:
        _leave_receipt(automations["transform"], id_at(now - ago), outcome, status, code, reason)


class _Writer:
    def __init__(self, past: Past, automation: Automation, version: Version, now: datetime) -> None:
        self.past = past
        self.automation = automation
        self.version = version
        self.definition = Definition.model_validate(version.definition)
        self.now = now
        self.id = id_at(now - past.ago)
        self.began = now - past.ago + timedelta(milliseconds=6)
        self.ended = self.began + sum((step.took for step in past.steps), timedelta())
        self.is_final = past.status in FINAL

    def write(self) -> None:
        for number in range(1, self.past.failures + 1):
            self._attempt(number)
        for number in range(1, self.past.failures + 2):
            self._step_runs(number)
        self._trigger()
        self._execution()
        if self.is_final:
            self._usage()
        _count_request(self.automation, made_at(self.id), Outcome.EXECUTED)

    def _execution(self) -> None:
        past, automation = self.past, self.automation
        resume_in = next((step.resume_in for step in past.steps if step.resume_in), None)
        Execution.objects.create(
            id=self.id, organization_id=automation.organization_id, project_id=automation.project_id,
            automation=automation, version=self.version, trigger=automation.trigger, status=past.status,
            lane=past.lane, reason_code=past.reason_code, reason=past.reason, attempt=past.failures + 1,
            claim=past.failures + 1, run_at=self.now + resume_in if resume_in else made_at(self.id),
            started_at=self.began if past.steps else None, finished_at=self.ended if self.is_final else None,
            steps=len(past.steps), connectors=",".join(dict.fromkeys(step.connector for step in self._actions())),
            is_counted=self.is_final,
        )  # fmt: skip

    def _actions(self) -> list[ActionStep]:
        return [step for step in self.definition.steps if isinstance(step, ActionStep)][: len(self.past.steps)]

    def _attempt(self, number: int) -> None:
        past = self.past
        Attempt.objects.create(
            execution_id=self.id, number=number, organization_id=self.automation.organization_id,
            version=self.version, status=past.status, reason_code=past.reason_code,
            reason=past.reason, started_at=self.began, finished_at=self.ended, steps=len(past.steps),
            retried_at=self.ended + 10 * MINUTE,
        )  # fmt: skip

    def _trigger(self) -> None:
        payload: JSON = {"method": "POST", "query": {}, "headers": HEADERS, "body": self.past.body}
        at = made_at(self.id)
        self._store(0, StepRun.TRIGGER, 0, connector="http", action="request", title="Trigger", started_at=at,
                    finished_at=at, status=StepStatus.SUCCESS, **_sides(payload, None))  # fmt: skip

    def _step_runs(self, attempt: int) -> None:
        at = self.began
        for position, (step, action) in enumerate(zip(self.past.steps, self._actions(), strict=True), start=1):
            ended = at + step.took
            self._store(
                attempt, action.key, position, connector=action.connector, action=action.action, title=action.title,
                started_at=at, finished_at=None if step.resume_in else ended, status=step.status,
                resume_at=self.now + step.resume_in if step.resume_in else None, error_code=step.error_code,
                error=step.error, is_external=step.is_external, **_sides(step.input, step.output),
            )  # fmt: skip
            at = ended

    def _store(self, attempt: int, key: str, position: int, **fields: Any) -> None:
        StepRun.objects.create(
            execution_id=self.id, attempt=attempt, key=key, iteration="", position=position,
            organization_id=self.automation.organization_id, **fields,
        )  # fmt: skip

    def _usage(self) -> None:
        day, month = made_at(self.id).date(), made_at(self.id).date().replace(day=1)
        _increment(lambda: UsageDay.objects.get_or_create(
            organization_id=self.automation.organization_id, project_id=self.automation.project_id, day=day,
            automation_id=self.automation.uid, status=self.past.status, shard=SHARD)[0], "count")  # fmt: skip
        _increment(lambda: UsageMonth.objects.get_or_create(
            organization_id=self.automation.organization_id, month=month)[0], "reserved")  # fmt: skip


def _leave_receipt(
    automation: Automation, identifier: uuid.UUID, outcome: Outcome, http_status: int, code: str, reason: str
) -> None:
    """Store the receipt of a request that started nothing; a duplicate refers to the execution before it."""
    earlier = Execution.objects.filter(automation=automation, id__lt=identifier).newest_first().first()
    assert automation.trigger is not None
    Receipt.objects.create(
        id=identifier, organization_id=automation.organization_id, project_id=automation.project_id,
        automation=automation, trigger=automation.trigger, outcome=outcome, http_status=http_status, code=code,
        reason=reason, execution_id=earlier.pk if earlier and outcome is Outcome.DUPLICATE else None,
    )  # fmt: skip
    _count_request(automation, made_at(identifier), outcome)


def _count_request(automation: Automation, at: datetime, outcome: Outcome) -> None:
    _increment(lambda: ReceiptDay.objects.get_or_create(
        organization_id=automation.organization_id, automation=automation, day=at.date(), outcome=outcome,
        shard=SHARD)[0], "count")  # fmt: skip


def _increment(find: Callable[[], Any], column: str) -> None:
    row = find()
    setattr(row, column, getattr(row, column) + 1)
    row.save(update_fields=[column])


def _sides(input_value: JSON, output: JSON) -> dict[str, Any]:
    """Return the columns of a step run's input and output."""
    texts = {"input": sealed_json.stored(input_value) if input_value is not None else None,
             "output": sealed_json.stored(output) if output is not None else None}  # fmt: skip
    return {**texts, **{f"{side}_bytes": len(text or "") for side, text in texts.items()}}

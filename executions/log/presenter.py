"""The contents of one execution's page: an attempt, its steps on a common time scale, the reason, the next action."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from django.utils import timezone
from pydantic import ValidationError

from automations.definition import Definition
from connectors.registry import CONNECTORS
from connectors.sdk.call import Connector
from executions.log.pending import Waiting, why_pending
from executions.models import ALIVE, Attempt, Engine, Execution, StepRun
from executions.models.retry import RetryRefused
from executions.states import Status, StepStatus
from executions.stop import CANCELLED
from projects import quiet

STOPPING = "The execution stops before its next step; one that begins within 2 seconds may still run."
NOT_UNDONE = "What it has done, and a call that is under way, is not undone."
ENDED_BADLY = (StepStatus.FAILED, StepStatus.REJECTED, StepStatus.PARTIALLY_EXECUTED)


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step run as a line of the page; `start` and `length` are percentages of the attempt's duration."""

    run: StepRun
    connector: Connector | None
    start: float
    length: float
    is_open: bool

    @property
    def anchor(self) -> str:
        return f"step-{self.run.key}" + (f"-{self.run.iteration}" if self.run.iteration else "")

    @property
    def panel(self) -> str:
        """Return the payload's id on the page; it changes with the status, so that a refresh drops an old payload."""
        return f"code-{self.anchor}-{self.run.state.code}"

    @property
    def icon(self) -> str:
        return self.connector.icon if self.connector else "plug"

    @property
    def end(self) -> float:
        return round(self.start + self.length, 2)

    @property
    def first_side(self) -> str:
        """Return the payload that Code opens first: the output of a failed step, else the input."""
        return "output" if self.is_open else "input"


class ExecutionPage:
    """The page of an execution and one of its attempts; the current attempt is the execution's own row."""

    def __init__(self, execution: Execution, number: int) -> None:
        self.execution = execution
        self.number = number
        self.is_current = number == execution.attempt

    @cached_property
    def earlier(self) -> list[Attempt]:
        attempts = Attempt.objects.filter(execution_id=self.execution.pk).order_by("number")
        return list(attempts.select_related("version", "retried_by"))

    @cached_property
    def shown(self) -> Execution | Attempt | None:
        """Return the attempt to show, or None when none has this number."""
        if self.is_current:
            return self.execution
        return next((attempt for attempt in self.earlier if attempt.number == self.number), None)

    @cached_property
    def retried(self) -> Attempt | None:
        """Return the attempt before, which says who retried it and when."""
        return next((attempt for attempt in self.earlier if attempt.number == self.number - 1), None)

    @property
    def numbers(self) -> range:
        return range(1, self.execution.attempt + 1)

    @property
    def is_active(self) -> bool:
        return self.is_current and not self.execution.is_final

    @property
    def accepted_at(self) -> datetime:
        return self.retried.retried_at if self.retried else self.execution.accepted_at

    @property
    def queue_wait(self) -> timedelta | None:
        started = self.shown.started_at if self.shown else None
        return max(started - self.accepted_at, timedelta()) if started else None

    @cached_property
    def lines(self) -> list[StepLine]:
        runs = list(self.execution.step_runs_of(self.number).defer("input", "output"))
        timed = [run for run in runs if not run.is_trigger]
        if not timed:
            return [self._step_line(run, run.started_at, 1) for run in runs]
        begin = min(run.started_at for run in timed)
        end = max(run.finished_at or timezone.now() for run in timed)
        return [self._step_line(run, begin, (end - begin).total_seconds() or 1) for run in runs]

    def _step_line(self, run: StepRun, begin: datetime, seconds: float) -> StepLine:
        offset = max(0.0, (run.started_at - begin).total_seconds())
        lasted = ((run.finished_at or timezone.now()) - run.started_at).total_seconds()
        # At least 1.5 % long, so that the shortest step is visible, also at the end of the scale.
        start = min(98.5, 100 * offset / seconds)
        length = min(100 - start, max(1.5, 100 * lasted / seconds))
        connector = CONNECTORS.get(run.connector)
        return StepLine(run, connector, round(start, 2), round(length, 2), run.state in ENDED_BADLY)

    @cached_property
    def not_run(self) -> list[str]:
        """Return the titles of the steps that an ended attempt did not reach."""
        if self.shown is None or (self.is_current and not self.execution.is_final):
            return []
        reached = {line.run.key for line in self.lines}
        try:
            definition = Definition.model_validate(self.shown.version.definition)
        except ValidationError:
            return []  # a definition that this release cannot read
        return [step.title or step.key for step in definition.steps if step.key not in reached]

    @cached_property
    def failed_run(self) -> StepRun | None:
        return next((line.run for line in reversed(self.lines) if line.run.state in ENDED_BADLY), None)

    @cached_property
    def refusal(self) -> RetryRefused | None:
        return self.execution.retry_refusal()

    @property
    def may_retry(self) -> bool:
        return self.is_current and self.execution.state is Status.FAILED and self.refusal is None

    @property
    def may_cancel(self) -> bool:
        is_asked = self.execution.is_stopping and self.execution.state is Status.RUNNING
        return self.is_active and not is_asked

    @property
    def cancel_warning(self) -> str:
        """Return what Cancel does at this moment, which people confirm."""
        match self.execution.state:
            case Status.RUNNING:
                return f"{STOPPING} {NOT_UNDONE}"
            case Status.PAUSED:
                return "The execution ends now. What it has done is not undone."
            case _:
                return "The execution ends now, and does not start."

    @property
    def trigger_title(self) -> str:
        """Return the trigger's connector and event under their titles in the builder."""
        run = next((line.run for line in self.lines if line.run.is_trigger), None)
        connector = CONNECTORS.get(run.connector) if run else None
        if run is None or connector is None:
            return "–"
        event = connector.event(run.action)
        return f"{connector.title}: {event.title}" if event else connector.title

    @property
    def retry_warning(self) -> str:
        """Return the warning that people confirm before Retry Execution."""
        version = self.execution.automation.live_version
        return (
            "All steps run again, with the stored trigger payload and the live version"
            f"{f' ({version.number})' if version else ''}. Actions in other systems may happen twice."
        )

    @property
    def is_external(self) -> bool:
        return bool(self.failed_run and self.failed_run.is_external)

    @cached_property
    def has_engine(self) -> bool:
        return Engine.objects.filter(ALIVE).exists()

    @cached_property
    def waiting(self) -> Waiting | None:
        """Return the limit that holds the execution back; None without an engine, for which it waits first."""
        is_pending = self.is_current and self.execution.state is Status.PENDING
        return why_pending(self.execution) if is_pending and self.has_engine else None

    @property
    def etag(self) -> str:
        """Return a text that changes whenever the page would look different, so that others need no redraw."""
        steps = ".".join(f"{line.run.status}{line.run.tries}" for line in self.lines)
        waits = self.execution.state is Status.PENDING and not self.has_engine
        line = self.waiting.etag if self.waiting else ""
        return f"{self.execution.rev}-{self.number}-{steps}-{int(waits)}-{line}"

    @property
    def next_action(self) -> str:
        if not self.is_current:
            return ""
        return _next_action(self)


def _next_action(page: ExecutionPage) -> str:
    if page.execution.is_stopping:
        return f"It stops before its next step. {NOT_UNDONE}"
    match page.execution.state:
        case Status.PENDING | Status.PAUSED if quiet.reason():
            return "This installation keeps quiet. The execution goes on once whoever runs AgentOS for you says so."
        case Status.PENDING if not page.has_engine:
            return "No worker is running. Start the cluster; the execution then starts by itself."
        case Status.PENDING if page.waiting:
            return "The execution starts by itself. You do not need to do anything."
        case Status.PENDING:
            return "The execution waits for a free worker. You do not need to do anything."
        case Status.PAUSED:
            return (
                "The execution continues by itself and occupies no worker until then. You do not need to do anything."
            )
        case Status.FAILED:
            return _after_failure(page)
        case Status.REJECTED:
            return _after_rejection(page.execution.reason_code)
        case Status.PARTIALLY_EXECUTED:
            return (
                "The earlier steps keep their results; the later steps did not run. The count restarts on the 1st "
                "of the month (UTC). An administrator can raise the maximum."
            )
        case _:
            return ""


def _after_failure(page: ExecutionPage) -> str:
    again = "retry" if page.refusal is None else "start a new execution"
    if page.execution.reason_code == "interrupted":
        return f"Check in the other system whether the step took effect, then {again}."
    if page.is_external:
        return f"The cause is outside AgentOS. Once the other service has recovered, {again}."
    return f"Repair the step in the builder, publish the change, then {again}."


def _after_rejection(code: str) -> str:
    if code == "time_limit":
        return (
            "Set a longer allotted time in the settings of the automation, or make the step faster. "
            "Then start a new execution. A Rejected execution cannot be retried."
        )
    if code == "restored":
        return "It may have run where the data was copied from. If it must run here, start a new execution."
    if code == CANCELLED:
        return "What it has done is not undone. To run it again, start a new execution."
    return "Start a new execution. A Rejected execution cannot be retried."

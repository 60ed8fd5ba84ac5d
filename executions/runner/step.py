"""One action step in one attempt: renders its input, checks it, calls the action, writes it down."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from automations.definition import ActionStep
from connectors.registry import find_action
from connectors.sdk import mapping
from connectors.sdk.call import JSON, Action, Call, StepError
from connectors.sdk.problems import first_problem
from executions import sealed_json as encoding
from executions.monitoring import histograms as metrics
from executions.states import StepStatus
from executions.store.rows import DoneStep, StepRecord

if TYPE_CHECKING:
    from executions.runner.runner import Runner

BACKOFF_IN_PLACE_S = 5.0  # a longer wait before the next try is a pause: it holds no slot


class StepCall:
    """One action step in this attempt: renders its input, calls it, writes it down."""

    def __init__(self, runner: Runner, step: ActionStep, position: int) -> None:
        self.runner = runner
        self.step = step
        self.position = position
        self.action = find_action(step.connector, step.action)
        self.title = step.title or (self.action.title if self.action else step.key)
        self.started_at = datetime.now(UTC)
        self.tries = 0
        self.input: str | None = None

    @property
    def replies(self) -> bool:
        return bool(self.action and self.action.replies)

    @property
    def never_repeats(self) -> bool:
        chosen = self.step.if_interrupted or (self.action.if_interrupted if self.action else "repeat")
        return chosen == "never_repeat"

    async def perform(self, done: DoneStep | None) -> JSON:
        """Return the step's output, trying as often as its retry policy says."""
        if self.action is None:
            raise StepError("This step has no action yet.", code="not_configured")
        if done and done.status is StepStatus.RUNNING:
            raise StepError("The worker died during the step, so its outcome is unknown.", code="interrupted")
        paused_until = done.resume_at if done and not done.error_code else None
        self.tries = done.tries if done and done.error_code else 0
        while True:
            self.tries += 1
            try:
                return await self._try(self.action, paused_until)
            except StepError as error:
                backoff = self.next_try_in(error)
                if backoff is None or backoff > BACKOFF_IN_PLACE_S:
                    raise
                await asyncio.sleep(backoff)

    def next_try_in(self, error: StepError) -> float | None:
        """Return the seconds until the next try, or None when there is none."""
        if not error.retryable or self.tries > self.step.retry.times or (error.unknown and self.never_repeats):
            return None
        backoff: float = self.step.retry.backoff_s * 2 ** (self.tries - 1)
        return max(backoff, error.retry_after_s or 0.0)

    async def _try(self, action: Action[Any], paused_until: datetime | None) -> JSON:
        if self.runner.enter is not None:
            await self.runner.enter(self.step.key)
        model = self._checked_input(action)
        if action.acts:
            if self.never_repeats:
                self.write(StepStatus.RUNNING, is_finished=False)
            await self.runner.flush()
        call = Call(
            input=model,
            idempotency_key=self.idempotency_key if action.acts else "",
            http=self.runner.http,
            mail=self.runner.mail,
            scope=self.runner.scope,
            paused_until=paused_until,
        )
        output = await self._in_time(action, call)
        self.write(StepStatus.SUCCESS, output=output)
        return output

    async def _in_time(self, action: Action[Any], call: Call[Any]) -> JSON:
        if self.step.time_limit_s is None:
            return await action.run(call)
        try:
            async with asyncio.timeout(self.step.time_limit_s) as limit:
                return await action.run(call)
        except TimeoutError:
            if not limit.expired():
                raise
            message = f"The step exceeded its time limit of {self.step.time_limit_s:g} s."
            raise StepError(message, code="step_time_limit", retryable=True, unknown=True) from None

    @property
    def idempotency_key(self) -> str:
        """Return the key of DESIGN 4: kept by repeats after a crash and automatic retries, not by a manual retry."""
        return f"{self.runner.execution.id}-{self.runner.execution.attempt}-{self.step.key}-0"

    def _checked_input(self, action: Action[Any]) -> Any:
        """Render the input and check it; what is recorded has its secrets unresolved."""
        scope = self.runner.scope
        try:
            rendered = mapping.render(self.step.input, scope)
            self.input = self._recorded(rendered)
            return action.input.model_validate(rendered)
        except mapping.MappingError as error:
            self.input = self.input or encoding.dumps(self.step.input)
            raise StepError(str(error), code="mapping_error") from None
        except ValidationError as error:
            raise StepError(first_problem(error, action.input), code="invalid_input") from None

    def _recorded(self, rendered: JSON) -> str:
        variables = self.runner.variables
        if variables.secret_keys and mapping.mentions(self.step.input, "vars"):
            rendered = mapping.render(self.step.input, {**self.runner.scope, "vars": variables.unresolved})
        return encoding.dumps(encoding.sealed(rendered, variables.secret_values))

    def write(
        self,
        status: StepStatus,
        *,
        output: JSON = None,
        error_code: str = "",
        error: str = "",
        is_outside: bool = False,
        resume_at: datetime | None = None,
        is_finished: bool = True,
    ) -> None:
        runner = self.runner
        secrets = runner.variables.secret_values
        has_output = status is StepStatus.SUCCESS or output is not None
        finished_at = datetime.now(UTC) if is_finished and resume_at is None else None
        if finished_at and self.action and status is not StepStatus.SKIPPED:
            metrics.step_ended(self.step.connector, finished_at - self.started_at)
        runner.records.append(
            StepRecord(
                execution=runner.execution,
                key=self.step.key,
                iteration="",
                position=self.position,
                status=status,
                connector=self.step.connector,
                action=self.step.action,
                title=self.title,
                tries=max(1, self.tries),
                started_at=self.started_at,
                finished_at=finished_at,
                input=self.input,
                output=encoding.dumps(encoding.sealed(output, secrets)) if has_output else None,
                error_code=error_code,
                error=encoding.hidden(error, secrets),
                is_outside=is_outside,
                is_reply=self.replies and status is StepStatus.SUCCESS,
                resume_at=resume_at,
            )
        )

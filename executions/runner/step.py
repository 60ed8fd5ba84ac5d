"""One action step in one attempt: render the input, check it, call the action, describe the outcome in a note."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from automations import typed_secrets
from automations.definition import ActionStep
from connectors.registry import find_action
from connectors.sdk import mapping, secret_use
from connectors.sdk.call import JSON, Action, Call, NotBegun, StepError
from connectors.sdk.problems import first_problem
from executions.monitoring import histograms
from executions.runner.backoff import wait_s
from executions.runner.context import StepContext, StepNote, Stopped
from executions.states import StepStatus
from executions.store.results import OUTCOME_UNKNOWN
from executions.store.rows import DoneStep, StepRecord

BACKOFF_IN_PLACE_S = 5.0  # seconds that a step waits in its slot for its next try; before a longer wait it pauses


class StepCall:
    """Performs one action step and returns notes of its outcome; storing them is the runner's part.

    `position` is the step's place in the definition, from 1.
    """

    def __init__(self, context: StepContext, step: ActionStep, position: int) -> None:
        self.context = context
        self.step = step
        self.position = position
        self.action = find_action(step.connector, step.action)
        self.title = step.title or (self.action.title if self.action else step.key)
        self.started_at = datetime.now(UTC)
        self.tries = 0
        self.input: JSON = None  # the input to record, with the expressions of secrets in place of their values
        self.is_secret = False  # the step computes with a secret, so that its whole output is one

    @property
    def replies(self) -> bool:
        return bool(self.action and self.action.replies)

    @property
    def never_repeats(self) -> bool:
        """Return whether the step must never act twice: the builder's choice, else the action's default."""
        chosen = self.step.if_interrupted or (self.action.if_interrupted if self.action else "repeat")
        return chosen == "never_repeat"

    async def perform(self, done: DoneStep | None) -> StepNote:
        """Return the note of a success, after as many tries as the step's retry policy allows.

        `done` is the step's durable step run, if it has one: Paused (it goes on, or tries again) or Running (its worker
        died while it acted). Raises StepError once the step has failed, Pause, EndExecution or StopPartially when the
        action asks for one of them, Stopped when the execution is to stop before the step acts, and Fenced.
        """
        if self.action is None:
            raise StepError("This step has no action yet.", code="not_configured")
        if done and done.status is StepStatus.RUNNING:
            raise StepError(OUTCOME_UNKNOWN, code="interrupted")
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
                if self.context.execution.stop:
                    raise

    def next_try_in(self, error: StepError) -> float | None:
        """Return the seconds until the next try, or None when the step is not tried again.

        It is the same each time it is asked for.
        """
        if not error.retryable or self.tries > self.step.retry.times or (error.unknown and self.never_repeats):
            return None
        return wait_s(self.step.retry.backoff_s, self.tries, error.retry_after_s or 0.0, self.idempotency_key)

    async def _try(self, action: Action[Any], paused_until: datetime | None) -> StepNote:
        context = self.context
        await context.enter(self.step.key)
        model = await self._checked_input(action)
        if action.acts:
            intent = self.note(StepStatus.RUNNING, is_finished=False) if self.never_repeats else None
            await context.log.make_durable(intent)
            if context.execution.stop and self.tries == 1:  # the commit has read the request
                raise Stopped
        call = Call(
            input=model,
            idempotency_key=self.idempotency_key if action.acts else "",
            http=context.http,
            mail=context.mail,
            compute=context.compute,
            scope=context.scope,
            paused_until=paused_until,
        )
        output = await (action.run(call) if self.step.time_limit_s is None else self._in_time(action, call))
        self._learn_output(output)
        return self.note(StepStatus.SUCCESS, output=output)

    async def _in_time(self, action: Action[Any], call: Call[Any]) -> JSON:
        try:
            async with asyncio.timeout(self.step.time_limit_s) as limit:
                return await action.run(call)
        except TimeoutError as over:
            if not limit.expired():
                raise
            message = f"The step exceeded its time limit of {self.step.time_limit_s:g} s."
            if isinstance(over.__cause__, NotBegun):
                raise StepError(f"{message} {over.__cause__}", code="step_time_limit", retryable=True) from None
            raise StepError(message, code="step_time_limit", retryable=True, unknown=True) from None

    @property
    def idempotency_key(self) -> str:
        """Return the key that outside calls carry: `<execution>-<attempt>-<step>-<iteration>`.

        A repeat after a crash and an automatic retry keep the key, so the other service can recognize them. A manual
        retry is a new attempt and has a new key.
        """
        execution = self.context.execution
        return f"{execution.id}-{execution.attempt}-{self.step.key}-0"

    async def _checked_input(self, action: Action[Any]) -> Any:
        """Return the rendered input as the action's model; raise StepError when it cannot be rendered or is wrong."""
        try:
            rendered = await self.context.compute.render(self.step.input, self.context.scope)
            self._learn(rendered)
            secret_keys = self.context.variables.secret_keys
            self.input = typed_secrets.recorded(await self._recorded(rendered) if secret_keys else rendered)
            return action.input.model_validate(rendered)
        except (mapping.MappingError, StepError) as error:
            self.input = self.step.input if self.input is None else self.input
            if isinstance(error, StepError):
                raise
            raise StepError(str(error), code="mapping_error") from None
        except ValidationError as error:
            raise StepError(first_problem(error, action.input), code="invalid_input") from None

    async def recall(self, output: JSON) -> None:
        """Learn again what a step that is done computed with secrets: later steps may hold it."""
        secrets = self.context.log.secrets
        if secrets and any(secret_use.computed(self.step.input, self.step.input, secrets)):
            with suppress(mapping.MappingError, StepError):
                self._learn(await self.context.compute.render(self.step.input, self.context.scope))
        self._learn_output(output)

    def _learn(self, rendered: JSON) -> None:
        secrets = self.context.log.secrets
        if secrets:
            values = list(secret_use.computed(self.step.input, rendered, secrets))
            self.is_secret = bool(values)
            self.context.log.learn(values)

    def _learn_output(self, output: JSON) -> None:
        secrets = self.context.log.secrets
        if secrets and self.action and self.action.computes and secret_use.reads(self.step.input, secrets):
            self.is_secret = True
            self.context.log.learn([output])

    async def _recorded(self, rendered: JSON) -> JSON:
        """Return the input to record: rendered once more with expressions for secrets, if it may hold any."""
        variables = self.context.variables
        if mapping.mentions(self.step.input, "vars"):
            unresolved = {**self.context.scope, "vars": variables.unresolved}
            try:
                return await self.context.compute.render(self.step.input, unresolved)
            except (mapping.MappingError, StepError):  # such as a number that an expression's text is none of
                return self.step.input
        return rendered

    def note(
        self,
        status: StepStatus,
        *,
        output: JSON = None,
        error_code: str = "",
        error: str = "",
        is_external: bool = False,
        resume_at: datetime | None = None,
        is_finished: bool = True,
    ) -> StepNote:
        """Return a note of the step as it stands now, and observe a finished step in the metrics.

        A step with a `resume_at`, or with `is_finished=False`, has no time of its end.
        """
        finished_at = datetime.now(UTC) if is_finished and resume_at is None else None
        if finished_at and self.action and status is not StepStatus.SKIPPED:
            histograms.step_ended(self.step.connector, finished_at - self.started_at)
        record = StepRecord(
            execution=self.context.execution,
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
            input=None,
            output=None,
            error_code=error_code,
            is_external=is_external,
            is_reply=self.replies and status is StepStatus.SUCCESS,
            resume_at=resume_at,
        )
        return StepNote(record=record, input=self.input, output=output, error=error, is_secret=self.is_secret)

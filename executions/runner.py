"""Walks a definition for one execution: pure, no SQL; what it asks of the world are ports.

A resume replays the definition from the top over the step runs that are durable already. Rule: a result is durable
before anything after it that acts on the world.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from pydantic import ValidationError

from automations.definition import ActionStep, Definition
from connectors import mapping
from connectors.call import JSON, Action, Call, EndExecution, Http, Mail, Pause, StepError, StopPartially
from connectors.registry import find_action
from executions import encoding
from executions.states import Status, StepStatus
from executions.store.rows import Claimed, DoneStep, Move, StepRecord

BACKOFF_IN_PLACE_S = 5.0  # a longer wait before the next try is a pause: it holds no slot
MESSAGE_LIMIT = 2000


class Journal(Protocol):
    """Where the runner writes down what must be durable before it goes on; the rest goes with its last move."""

    async def durable(self, execution: Claimed, records: list[StepRecord]) -> None:
        """Return when the records are committed; raise Fenced when the execution is no longer ours."""


class Fenced(Exception):
    """Another engine runs this execution now: drop everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variables:
    """A project's variables, and which of them must never be stored or shown in the clear."""

    values: dict[str, JSON] = field(default_factory=dict)
    secret_keys: frozenset[str] = frozenset()

    @property
    def secret_values(self) -> list[str]:
        return [str(self.values[key]) for key in self.secret_keys]

    @property
    def unresolved(self) -> dict[str, JSON]:
        """Return them with each secret standing for itself, as inputs are recorded."""
        return {key: f"{{{{ vars.{key} }}}}" if key in self.secret_keys else v for key, v in self.values.items()}


class _Ended(Exception):
    """The execution is over, or paused: carries the move."""

    def __init__(self, move: Move) -> None:
        self.move = move


class Runner:
    """One execution's walk. `run()` returns the move out of Running; `reject()` the one when its time is over."""

    def __init__(
        self,
        execution: Claimed,
        definition: Definition,
        *,
        variables: Variables,
        journal: Journal,
        http: Http,
        mail: Mail,
    ) -> None:
        self.execution = execution
        self.definition = definition
        self.variables = variables
        self.journal = journal
        self.http = http
        self.mail = mail
        self.scope: dict[str, JSON] = {"vars": dict(variables.values)}
        self.started = asyncio.get_running_loop().time()
        self.position = 0
        self.connectors: dict[str, None] = {}
        self.skipped_failures = 0
        self.current: StepRun | None = None
        self.records: list[StepRecord] = []  # not yet durable

    async def run(self) -> Move:
        self.scope["trigger"] = encoding.loads_opened(self.execution.payload)
        try:
            for step in self.definition.steps:
                await self._run_step(step)
        except _Ended as ended:
            return ended.move
        skipped = f"{_count(self.skipped_failures, 'step')} failed, skipped." if self.skipped_failures else ""
        return self._move(Status.SUCCESS, "skipped_failures" if skipped else "", skipped)

    def reject(self) -> Move:
        """Return the move of an execution whose allotted time is over, and write down where that was."""
        limit = self.execution.time_limit_s
        if self.current is None:
            return self._move(Status.REJECTED, "time_limit", f"Exceeded its allotted time of {limit} s.")
        step = self.current
        reason = f"Exceeded its allotted time of {limit} s in step “{step.title}”."
        step.write(StepStatus.REJECTED, error_code="time_limit", error=reason)
        return self._move(Status.REJECTED, "time_limit", reason)

    async def _run_step(self, step: Any) -> None:
        self.position += 1
        if not isinstance(step, ActionStep):
            raise _Ended(self._move(Status.FAILED, "unsupported_step", f"Step “{step.key}” is of an unknown kind."))
        run = StepRun(self, step, self.position)
        if step.disabled:
            run.write(StepStatus.SKIPPED)
            self.scope[step.key] = None
            return
        self.connectors[step.connector] = None
        self.current = run
        self.scope[step.key] = await self._result(run)
        self.current = None
        if run.replies and step is not self.definition.steps[-1]:
            await self.flush()  # the caller gets its reply now, not at the end

    async def flush(self) -> None:
        if self.records:
            records, self.records = self.records, []
            await self.journal.durable(self.execution, records)

    async def _result(self, run: StepRun) -> JSON:
        done = self.execution.done.get((run.step.key, ""))
        if done and done.status in (StepStatus.SUCCESS, StepStatus.FAILED):
            return self._replayed(run, done)
        try:
            return await run.perform(done)
        except Pause as pause:
            run.write(StepStatus.PAUSED, resume_at=pause.until)
            raise _Ended(self._pause(pause.until, f"Waits until {_when(pause.until)} in “{run.title}”.")) from None
        except EndExecution as end:
            run.write(StepStatus.SUCCESS, output=end.output)
            raise _Ended(self._move(Status.SUCCESS, "condition_ended", end.reason)) from None
        except StopPartially as stop:
            run.write(StepStatus.PARTIALLY_EXECUTED, error_code=stop.code, error=stop.reason)
            raise _Ended(self._move(Status.PARTIALLY_EXECUTED, stop.code, stop.reason)) from None
        except StepError as error:
            return self._failed(run, error)

    def _replayed(self, run: StepRun, done: DoneStep) -> JSON:
        """Return a durable result; a failure is only met here when its rule is skip."""
        if done.status is StepStatus.FAILED:
            self.skipped_failures += 1
            return None
        return encoding.loads_opened(done.output) if done.output is not None else None

    def _failed(self, run: StepRun, error: StepError) -> JSON:
        message = error.message[:MESSAGE_LIMIT]
        backoff = run.next_try_in(error)
        if backoff is not None:
            until = datetime.now(UTC) + timedelta(seconds=backoff)
            run.write(StepStatus.PAUSED, output=error.output, error_code=error.code, error=message, resume_at=until)
            raise _Ended(self._pause(until, f"Tries “{run.title}” again at {_when(until)}: {message}"))
        run.write(
            StepStatus.FAILED, output=error.output, error_code=error.code, error=message, is_outside=error.outside
        )
        if run.step.on_error == "skip":
            self.skipped_failures += 1
            return None
        raise _Ended(self._move(Status.FAILED, error.code, f"Step “{run.title}” failed: {message}"))

    def _pause(self, until: datetime, reason: str) -> Move:
        move = self._move(Status.PAUSED, "waiting", reason)
        move.resume_at = until
        return move

    def _move(self, target: Status, code: str = "", reason: str = "") -> Move:
        elapsed = int((asyncio.get_running_loop().time() - self.started) * 1000)
        return Move(
            execution=self.execution,
            target=target,
            reason_code=code,
            reason=encoding.hidden(reason, self.variables.secret_values),
            ran_ms=self.execution.ran_ms + elapsed,
            steps=self.position,
            connectors=",".join(self.connectors)[:200],
            wakes_caller=self.definition.replies,
            records=self.records,
        )


class StepRun:
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
            raise StepError("This step has no connector and action yet.", code="not_configured")
        if done and done.status is StepStatus.RUNNING:
            raise StepError("Interrupted, outcome unknown: the worker died while it acted.", code="interrupted")
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
        if not error.retryable or self.tries > self.step.retry.times:
            return None
        backoff: float = self.step.retry.backoff_s * 2 ** (self.tries - 1)
        return max(backoff, error.retry_after_s or 0.0)

    async def _try(self, action: Action[Any], paused_until: datetime | None) -> JSON:
        model = self._checked_input(action)
        if action.acts:
            if self.never_repeats:
                self.write(StepStatus.RUNNING, is_finished=False)
            await self.runner.flush()
        call = Call(
            input=model,
            idempotency_key=self.idempotency_key,
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
            message = f"Exceeded the step's time limit of {self.step.time_limit_s:g} s."
            raise StepError(message, code="step_time_limit", retryable=True) from None

    @property
    def idempotency_key(self) -> str:
        """Return the key of DESIGN §4: kept by repeats after a crash and automatic retries, not by a manual retry."""
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
            raise StepError(_first_problem(error), code="invalid_input") from None

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
                finished_at=datetime.now(UTC) if is_finished and resume_at is None else None,
                input=self.input,
                output=encoding.dumps(encoding.sealed(output, secrets)) if has_output else None,
                error_code=error_code,
                error=encoding.hidden(error, secrets),
                is_outside=is_outside,
                is_reply=self.replies and status is StepStatus.SUCCESS,
                resume_at=resume_at,
            )
        )


def _first_problem(error: ValidationError) -> str:
    """Return the field and the rule of the first thing wrong with an input."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "input"
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _when(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

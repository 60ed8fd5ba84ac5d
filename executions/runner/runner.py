"""The runner walks the steps of one execution. It knows no SQL and reaches the world only through ports.

An execution that resumes is walked from the top again; steps with a durable result are not repeated, their result is
read. So there is no stored position that could disagree with the step runs. One rule makes it safe: a result is durable
before any later step acts on the world.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from automations import typed_secrets
from automations.definition import ActionStep, Definition
from connectors.compute.shared import Compute
from connectors.outbound.holding import Holding
from connectors.sdk.call import JSON, EndExecution, Http, Mail, NotBegun, Pause, StepError, StopPartially
from executions import sealed_json
from executions.runner.context import STALL_CPU_S, Journal, Stalled, StepContext, StepLog, Stopped, Variables
from executions.runner.earlier import Earlier, Unusable
from executions.runner.step import StepCall
from executions.states import Lane, Status, StepStatus
from executions.stop import CANCELLED
from executions.store.rows import Claimed, DoneStep, Move

VERSIONS = 2000  # whose typed secrets are kept
MESSAGE_LIMIT = 2000  # characters of a step's error message that are stored
NOT_BEGUN = "The execution was stopped before this step acted."
STALLED = f"The step's code held up its worker for more than {STALL_CPU_S} s."
CONDEMNED = {
    "worker_died": "The worker died 3 times{step}.",
    "stalled": "Blocked its worker for more than 5 s{step}, twice.",
}


_typed: dict[uuid.UUID, tuple[str, ...]] = {}  # by version, which never changes


class _Ended(Exception):
    """Carries the move of an execution that ends or pauses out of its walk."""

    def __init__(self, move: Move) -> None:
        self.move = move


class Runner:
    """Walks one execution in one attempt; use a runner once.

    `run`, `reject` and `condemn` each return the execution's move out of Running, and with it the step runs that are
    not yet durable.
    """

    def __init__(
        self,
        execution: Claimed,
        definition: Definition,
        *,
        variables: Variables,
        journal: Journal,
        http: Http,
        mail: Mail,
        compute: Compute,
        holding: Holding,
        enter: Callable[[str], Awaitable[None]],
    ) -> None:
        self.execution = execution
        self.definition = definition
        self.variables = variables
        self.log = StepLog(execution, variables, journal, _typed_in(execution.version_id, definition))
        self.earlier = Earlier(execution, journal, holding)
        self.scope: dict[str, JSON] = {"vars": dict(variables.values)}
        self.context = StepContext(
            execution=execution,
            scope=self.scope,
            variables=variables,
            http=http,
            mail=mail,
            compute=compute,
            enter=enter,
            log=self.log,
        )
        self.started = asyncio.get_running_loop().time()
        self.position = 0
        self.connectors: dict[str, None] = {}  # an ordered set of those used so far
        self.skipped_failures = 0
        self.current: StepCall | None = None  # the step that runs, for reject()

    async def run(self) -> Move:
        """Run the steps one after the other; return the move. Raises Fenced when another engine has the execution."""
        try:
            payload = await self.earlier.read(self.execution.payload, 0, "trigger")
            self.scope["trigger"] = await self.earlier.opened(payload, "The trigger's payload")
            for step in self.definition.steps:
                await self._run_step(step)
        except _Ended as ended:
            return ended.move
        except Unusable as data:
            return self._move(Status.FAILED, data.code, str(data))
        skipped = f"{_count(self.skipped_failures, 'step')} failed, skipped." if self.skipped_failures else ""
        return self._move(Status.SUCCESS, "skipped_failures" if skipped else "", skipped)

    def reject(self, over: TimeoutError) -> Move:
        """Return the move of an execution whose allotted time is over; its present step becomes Rejected, too."""
        limit = self.execution.time_limit_s
        if self.current is None:
            return self._move(Status.REJECTED, "time_limit", f"The execution exceeded its allotted time of {limit} s.")
        step = self.current
        reason = f"The execution exceeded its allotted time of {limit} s in step “{step.title}”."
        if isinstance(over.__cause__, NotBegun):
            reason = f"{reason} {over.__cause__}"
        self.log.keep(step.note(StepStatus.REJECTED, error_code="time_limit", error=reason))
        return self._move(Status.REJECTED, "time_limit", reason)

    def stalled(self) -> Move:
        """Return the move of an execution that held up its worker outside of its steps' code."""
        return self._move(Status.FAILED, "held_up", STALLED)

    def condemn(self, code: str, key: str) -> Move:
        """Return the move of an execution that has killed or stalled its workers too often.

        `code` is a key of CONDEMNED. `key` names the step that did it; if it names none, the first step without a
        durable result takes the blame.
        """
        steps = [step for step in self.definition.steps if isinstance(step, ActionStep)]
        undone = (step for step in steps if (step.key, "") not in self.execution.done)
        step = next((step for step in steps if step.key == key), None) or next(undone, None)
        if step is None:
            return self._move(Status.REJECTED, code, CONDEMNED[code].format(step=""))
        self.position = self.definition.steps.index(step) + 1
        self.connectors = dict.fromkeys(step.connector for step in steps[: self.position])
        call = StepCall(self.context, step, self.position)
        reason = CONDEMNED[code].format(step=f" in step “{call.title}”")
        self.log.keep(call.note(StepStatus.REJECTED, error_code=code, error=reason))
        return self._move(Status.REJECTED, code, reason)

    async def _run_step(self, step: Any) -> None:
        self.position += 1
        if not isinstance(step, ActionStep):
            raise _Ended(self._move(Status.FAILED, "unsupported_step", f"Step “{step.key}” is of an unknown kind."))
        call = StepCall(self.context, step, self.position)
        if step.disabled:
            self.log.keep(call.note(StepStatus.SKIPPED))
            self.scope[step.key] = None
            return
        self.connectors[step.connector] = None
        self.current = call
        self.scope[step.key] = await self._result(call)
        self.current = None
        # The caller of a Response step gets the reply now, not at the execution's end. What must never be repeated must
        # not end as interrupted because another execution kills the worker meanwhile. A suspect is acquitted by its
        # first durable step.
        is_last = step is self.definition.steps[-1]
        if self.execution.is_suspect or (not is_last and (call.replies or call.never_repeats)):
            await self.log.make_durable()

    async def _result(self, call: StepCall) -> JSON:
        """Return the step's output, from its durable step run or by performing it; raise _Ended if it ends here."""
        done = self.execution.done.get((call.step.key, ""))
        if done and done.status in (StepStatus.SUCCESS, StepStatus.FAILED):
            return await self._replayed(call, done)
        self._stop_before(call, done)
        try:
            note = await call.perform(done)
        except Pause as pause:
            self.log.keep(call.note(StepStatus.PAUSED, resume_at=pause.until))
            reason = f"The execution waits until {_when(pause.until)} in “{call.title}”."
            raise _Ended(self._pause(pause.until, reason)) from None
        except EndExecution as end:
            self.log.keep(call.note(StepStatus.SUCCESS, output=end.output))
            raise _Ended(self._move(Status.SUCCESS, "condition_ended", end.reason)) from None
        except StopPartially as stop:
            self.log.keep(call.note(StepStatus.PARTIALLY_EXECUTED, error_code=stop.code, error=stop.reason))
            raise _Ended(self._move(Status.PARTIALLY_EXECUTED, stop.code, stop.reason)) from None
        except Stopped:
            if call.never_repeats:  # its intent is stored
                self.log.keep(call.note(StepStatus.REJECTED, error_code=CANCELLED, error=NOT_BEGUN))
            raise self._stopped(f"before step “{call.title}”", steps=self.position - (not call.never_repeats)) from None
        except StepError as error:
            return self._failed(call, error)
        except Stalled:
            return self._failed(call, StepError(STALLED, code="held_up", unknown=True))
        self.log.keep(note)
        return note.output

    async def _replayed(self, call: StepCall, done: DoneStep) -> JSON:
        """Return a durable output; a durable failure was skipped (else the execution had ended), so it gives None."""
        if done.status is StepStatus.FAILED:
            self.skipped_failures += 1
            return None
        if done.output is None:
            return None
        text = await self.earlier.read(done.output, self.execution.attempt, call.step.key)
        output = await self.earlier.opened(text, f"The output of step “{call.title}”")
        self.log.note_output(call.step.key, text)
        await call.recall(output)
        return output

    def _failed(self, call: StepCall, error: StepError) -> JSON:
        """Follow a failed try: pause until the next try, skip the step (its output is None), or end the execution."""
        # Hidden before it is cut: nobody recognizes half a secret.
        message = sealed_json.hidden(error.message, self.log.masks)[:MESSAGE_LIMIT]
        backoff = call.next_try_in(error)
        is_stopped = bool(self.execution.stop) and backoff is not None
        until = datetime.now(UTC) + timedelta(seconds=backoff) if backoff is not None and not is_stopped else None
        status = StepStatus.PAUSED if until else StepStatus.FAILED
        self.log.keep(
            call.note(
                status,
                output=error.output,
                error_code=error.code,
                error=message,
                is_external=error.external and until is None,
                resume_at=until,
            )
        )
        if is_stopped:
            raise self._stopped(f"before the next try of step “{call.title}”")
        if until is not None:
            raise _Ended(self._pause(until, f"Step “{call.title}” is tried again at {_when(until)}: {message}"))
        if call.step.on_error == "skip":
            self.skipped_failures += 1
            return None
        raise _Ended(self._move(Status.FAILED, error.code, f"Step “{call.title}” failed: {message}"))

    def _pause(self, until: datetime, reason: str) -> Move:
        move = self._move(Status.PAUSED, "waiting", reason)
        move.resume_at = until
        return move

    def _stop_before(self, call: StepCall, done: DoneStep | None) -> None:
        """Raise _Ended if the execution is to stop, unless the step may have acted already: then it says so."""
        if self.execution.stop and done is None:
            raise self._stopped(f"before step “{call.title}”", steps=self.position - 1)
        if self.execution.stop and done and done.status is StepStatus.PAUSED:
            where = "before the next try of" if done.error_code else "while it waited in"
            raise self._stopped(f"{where} step “{call.title}”")

    def _stopped(self, where: str, *, steps: int | None = None) -> _Ended:
        """Return the end of an execution that is to stop; `steps` is the number of those that have begun."""
        assert self.execution.stop is not None
        if steps is not None:
            self.position = steps
            begun = (step for step in self.definition.steps[:steps] if isinstance(step, ActionStep))
            self.connectors = dict.fromkeys(step.connector for step in begun if not step.disabled)
        move = self._move(Status.REJECTED, self.execution.stop.code, self.execution.stop.at(where))
        move.closes_steps = True
        return _Ended(move)

    def _move(self, target: Status, code: str = "", reason: str = "") -> Move:
        elapsed = int((asyncio.get_running_loop().time() - self.started) * 1000)
        return Move(
            execution=self.execution,
            target=target,
            reason_code=code,
            reason=sealed_json.hidden(reason, self.log.masks),
            ran_ms=self.execution.ran_ms + elapsed,
            steps=self.position,
            connectors=",".join(self.connectors)[:200],
            wakes_caller=self.execution.lane is Lane.SYNC,
            records=self.log.records,
        )


def _typed_in(version_id: uuid.UUID, definition: Definition) -> tuple[str, ...]:
    """Return the secrets that were typed into a version's steps."""
    found = _typed.get(version_id)
    if found is None:
        if len(_typed) > VERSIONS:
            _typed.clear()
        found = _typed[version_id] = typed_secrets.texts_in(definition)
    return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _when(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

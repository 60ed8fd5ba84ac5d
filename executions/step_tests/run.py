"""Tests of a draft's trigger and steps: they read and call for real, but make no execution and count nothing.

A test's result becomes the sample with which later steps are tested and mapped. It is stored with secrets masked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any

from django.conf import settings
from django.utils import timezone
from pydantic import ValidationError

from automations import typed_secrets
from automations.builder.checks import step_title
from automations.builder.references import roots
from automations.builder.samples import TRIGGER, Samples
from automations.definition import ActionStep
from automations.models import Automation, StepTest
from connectors.outbound.addresses import parse_allow
from connectors.registry import find_action
from connectors.sdk import mapping, secret_use
from connectors.sdk.call import JSON, Action, Call, EndExecution, Pause, StepError, StopPartially
from connectors.sdk.problems import first_problem
from connectors.sdk.secret_use import Secrets
from executions import sealed_json
from executions.computing import compute_for
from executions.intake.message import Message
from executions.intake.reading import stated_length
from executions.intake.request import METHODS, Request
from executions.models import Execution, StepRun
from executions.ports.mail import DjangoMail
from executions.runner.context import Variables, mask_of, variables_of
from executions.secret_forms import Mask
from projects import quiet, sealing
from projects.ids import new_id

logger = logging.getLogger(__name__)

TIME_LIMIT_S = 30.0  # of a test; the builder waits for its page
UNSTORED_HEADERS = {"authorization", "cookie", "proxy-authorization", "ah-http-key"}  # hold a login


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A test's result; `words` tells the difference to an execution, or the error."""

    is_success: bool = True
    output: JSON = None
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """A request at the trigger URL, as a person writes it in the form."""

    method: str = "POST"
    content_type: str = "application/json"
    query: str = ""
    headers: str = ""
    body: str = ""

    @property
    def header_pairs(self) -> list[tuple[str, str]]:
        """Return names, in lower case, and values; headers that hold a login are left out."""
        lines = (line.partition(":") for line in self.headers.splitlines() if line.strip())
        pairs = [(name.strip().lower(), value.strip()) for name, _, value in lines]
        return [(name, value) for name, value in pairs if name not in UNSTORED_HEADERS]

    def message(self) -> Message:
        """Return the request as the trigger URL would get it."""
        raw = self.body.encode() if self.method == "POST" else b""
        own = {"content-length": str(len(raw)), **({"content-type": self.content_type} if raw else {})}
        headers = {**dict(self.header_pairs), **own}
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        return Message(method=self.method, query=self.query.encode(), headers=pairs, body=raw)

    def stored(self) -> str:
        """Return the sample as JSON text to store, without headers that hold a login."""
        kept = replace(self, headers="\n".join(f"{name}: {value}" for name, value in self.header_pairs))
        return sealed_json.dumps({name: getattr(kept, name) for name in SampleRequest.__slots__})


def test_trigger(automation: Automation, sample: SampleRequest) -> StepTest:
    """Read a sample request and keep its output, or raise executions.intake.body.Refused, as the trigger URL would."""
    config = automation.definition.trigger.config
    request = Request(sample.message())
    request.check_method(config.get("methods") or METHODS)
    stated_length(request.message, settings.BODY_LIMIT)
    return keep_trigger(automation, request.payload(config), sample.stored())


def keep_trigger(automation: Automation, payload: JSON, sample: str = "") -> StepTest:
    """Keep a trigger's output as the sample for the steps, with the words whether it would start an execution."""
    conditions = automation.definition.trigger.conditions
    try:
        reason = compute_for(automation.organization_id).judge_now(conditions, {TRIGGER: payload})
        words = f"This would not start an execution. {reason}" if reason else "This would start an execution."
    except StepError as error:
        words = f"This would not start an execution. {error.message}"
    masks = _variables_of(automation).masks
    return _keep(automation, TRIGGER, Result(output=payload, words=words), masks, input_text=sample, started=None)


def latest_payload(automation: Automation) -> JSON:
    """Return the trigger's output of the automation's newest execution, masked; None when there is none."""
    newest = Execution.objects.filter(automation=automation.pk).newest_first().first()
    if newest is None:
        return None
    run = StepRun.objects.filter(execution_id=newest.pk, attempt=0, key=StepRun.TRIGGER).first()
    return run.shown_value("input") if run else None


def test_step(automation: Automation, key: str) -> StepTest:
    """Run one step of the draft, with the samples of the trigger and of the steps before it."""
    samples = Samples(automation, automation.definition)
    step = samples.definition.find(key)
    assert isinstance(step, ActionStep)
    variables = _variables_of(automation)
    started = time.monotonic()
    scope = {**samples.scope_of(key), "vars": dict(variables.values)}
    result = _result(automation, samples, step, scope)
    masks = [*variables.masks, mask_of(typed_secrets.texts_in(samples.definition))]
    if texts := _computed(automation, step, scope, variables):
        masks.append(Mask(texts))
        result = replace(result, output=_hollow(result.output))
    recorded = _masked(typed_secrets.recorded(_recorded(automation, step, scope, variables)), masks)
    return _keep(automation, key, result, masks, input_text=recorded, started=started)


def _result(automation: Automation, samples: Samples, step: ActionStep, scope: dict[str, JSON]) -> Result:
    """Render and check the step's input, then call its action; return errors as results too."""
    action = find_action(step.connector, step.action)
    if action is None:
        return Result(is_success=False, words="This step has no action yet.")
    if why := quiet.reason():
        return Result(is_success=False, words=f"AgentOS keeps quiet, so this test calls and sends nothing. {why}")
    untested = [source for source in samples.keys_before(step.key) if scope.get(source) is None]
    try:
        rendered = compute_for(automation.organization_id).render_now(step.input, scope)
        model = action.input.model_validate(rendered)
    except StepError as error:
        return Result(is_success=False, words=error.message)
    except mapping.MappingError as error:
        first = next((source for source in untested if source in roots(step.input)), None)
        hint = f" Test “{_name(samples, first)}” first." if first else ""
        return Result(is_success=False, words=f"{error}{hint}")
    except ValidationError as error:
        return Result(is_success=False, words=first_problem(error, action.input))
    return asyncio.run(_call_action(automation, step, action, model, scope))


async def _call_action(
    automation: Automation, step: ActionStep, action: Action[Any], model: Any, scope: dict[str, JSON]
) -> Result:
    """Call the action as an engine would, within the test's time limit; return the end of the call in words."""
    # Imported here, because it takes 8 MB that a web process needs for nothing else.
    from connectors.outbound.client import Outbound

    outbound = Outbound(parse_allow(settings.OUTBOUND_ALLOW))
    call = Call(
        input=model,
        idempotency_key=f"test-{new_id()}",  # new each time: a test that is repeated on purpose acts again
        http=outbound.of(automation.organization_id),
        mail=DjangoMail().of(automation.organization_id),
        compute=compute_for(automation.organization_id),
        scope=scope,
        is_test=True,
    )
    limit = min(step.time_limit_s or TIME_LIMIT_S, TIME_LIMIT_S)
    try:
        async with asyncio.timeout(limit):
            return Result(output=await action.run(call), words=_reply_note(action))
    except Pause as pause:
        until = pause.until.astimezone(UTC)
        words = f"An execution would wait here until {until:%Y-%m-%d %H:%M:%S} UTC. The test does not wait."
        return Result(output=action.sample, words=words)
    except EndExecution as end:
        return Result(output=end.output, words=f"An execution would end here as a Success. {end.reason}")
    except StopPartially as stop:
        return Result(is_success=False, words=f"An execution would end here as Partially Executed. {stop.reason}")
    except StepError as error:
        return Result(is_success=False, output=error.output, words=error.message)
    except TimeoutError:
        return Result(is_success=False, words=f"The step gave no result within {limit:g} s, the time limit of a test.")
    except Exception:  # a connector's fault must not cost the builder the page
        logger.exception("the test of step %s of automation %s failed", step.key, automation.pk)
        words = "The action failed with an unexpected error. The server's log has the details."
        return Result(is_success=False, words=words)
    finally:
        await outbound.close()


def _reply_note(action: Action[Any]) -> str:
    return "The caller of an execution would get this answer. A test answers nobody." if action.replies else ""


def _recorded(automation: Automation, step: ActionStep, scope: dict[str, JSON], variables: Variables) -> JSON:
    """Return the step's input with secrets unresolved, or the unrendered one when it cannot be rendered."""
    try:
        unresolved = {**scope, "vars": variables.unresolved}
        return compute_for(automation.organization_id).render_now(step.input, unresolved)
    except (mapping.MappingError, StepError):
        return step.input


def _computed(automation: Automation, step: ActionStep, scope: dict[str, JSON], variables: Variables) -> list[str]:
    """Return the texts that the step computes with a secret; with one of them, its whole output is masked."""
    action, secrets = find_action(step.connector, step.action), Secrets(variables.secret_keys)
    if not secrets:
        return []
    reads = bool(action and action.computes and secret_use.reads(step.input, secrets))
    if not reads and not any(secret_use.computed(step.input, step.input, secrets)):
        return []
    try:
        rendered = compute_for(automation.organization_id).render_now(step.input, scope)
    except (mapping.MappingError, StepError):
        return [sealing.MASK]
    return [sealing.MASK, *secret_use.texts_in(secret_use.computed(step.input, rendered, secrets))]


def _hollow(value: JSON) -> JSON:
    """Return a value with a mask in place of each text and number: later steps are tested with its shape."""
    match value:
        case dict():
            return {key: _hollow(item) for key, item in value.items()}
        case list():
            return [_hollow(item) for item in value]
        case None | bool():
            return value
        case _:
            return sealing.MASK


def _masked(value: JSON, masks: sealed_json.Masks) -> str:
    return sealed_json.shown(sealed_json.sealed(value, masks, new_id()))


def _keep(
    automation: Automation,
    key: str,
    result: Result,
    masks: sealed_json.Masks,
    *,
    input_text: str,
    started: float | None,
) -> StepTest:
    has_output = result.is_success or result.output is not None
    output = _masked(result.output, masks) if has_output else ""
    words = result.words
    if len(output) > sealed_json.ROW_LIMIT:
        words = f"{words} The output is larger than 256 KB, so it is not kept as a sample.".strip()
        output = ""
    samples = Samples(automation, automation.definition)
    test, _ = StepTest.objects.update_or_create(
        automation=automation,
        step_key=key,
        defaults={
            "fingerprint": samples.fingerprints.get(key, ""),
            "is_success": result.is_success,
            "input": input_text if len(input_text) <= sealed_json.ROW_LIMIT else "",
            "output": output,
            "error": sealed_json.hidden(words, masks),
            "duration_ms": 0 if started is None else int((time.monotonic() - started) * 1000),
            "tested_at": timezone.now(),
        },
    )
    return test


def _name(samples: Samples, key: str) -> str:
    return "Trigger" if key == TRIGGER else step_title(samples.definition.find(key))


def _variables_of(automation: Automation) -> Variables:
    rows = automation.project.variables.values_list("key", "encrypted", "is_secret")
    return variables_of(automation.project_id, rows)

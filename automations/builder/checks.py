"""Warnings that a builder reads before a draft goes live; none of them is a reason to refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from automations.builder.references import roots
from automations.builder.samples import TRIGGER, Samples
from automations.definition import ActionStep
from connectors.registry import CONNECTORS, find_action
from connectors.sdk import mapping
from connectors.sdk.budget import OverBudget, budget
from connectors.sdk.check import check_config, check_input

NOT_JSON = (
    'Body content is not JSON. Put templates in quotes, as in {"id": "{{ trigger.body.id }}"}; a number stays a number.'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to look at; `key` is a step's key, "trigger", or empty for the automation as a whole."""

    key: str
    title: str
    message: str
    is_untested: bool = False


def warnings(samples: Samples) -> list[Finding]:
    """Return everything unfinished, wrong or untested in a draft: the trigger first, then the steps in their order."""
    found = list(of_trigger(samples))
    if not any(not step.disabled for step in samples.definition.walk()):
        found.append(Finding(key="", title="Steps", message="Add at least one step."))
    for step in samples.definition.steps:
        found.extend(of_step(samples, step))
    return found


def of_step(samples: Samples, step: Any) -> Iterator[Finding]:
    """Yield what to look at in one step; nothing for a disabled one, nor for a path, whose steps have no form here."""
    if step.disabled or not isinstance(step, ActionStep):
        return
    title = step_title(step)
    problems = list(_problems(samples, step))
    for message in problems:
        yield Finding(key=step.key, title=title, message=message)
    test = samples.test_of(step.key)
    if test is None and not problems:
        yield Finding(key=step.key, title=title, message="Not tested since the last change.", is_untested=True)
    elif test and not test.is_success:
        yield Finding(key=step.key, title=title, message=f"The test failed: {test.error}")


def step_title(step: Any) -> str:
    """Return the name that a builder gave a step, else its action's title, else its key."""
    if step.title or not isinstance(step, ActionStep):
        return str(step.title or step.key)
    action = find_action(step.connector, step.action)
    return action.title if action else str(step.key)


def of_trigger(samples: Samples) -> Iterator[Finding]:
    """Yield what to look at in the trigger."""
    if not samples.definition.trigger.is_configured or samples.automation.trigger is None:
        yield Finding(key=TRIGGER, title="Trigger", message="Choose a trigger.")
        return
    part = samples.definition.trigger
    connector = CONNECTORS.get(part.connector)
    event = connector.event(part.event) if connector else None
    wrong = check_config(event, part.config) if event else []
    for problem in wrong:
        yield Finding(key=TRIGGER, title="Trigger", message=problem.sentence)
    if not wrong and samples.test_of(TRIGGER) is None:
        yield Finding(key=TRIGGER, title="Trigger", message="Not tested since the last change.", is_untested=True)


def _problems(samples: Samples, step: ActionStep) -> Iterator[str]:
    action = find_action(step.connector, step.action)
    if action is None:
        yield "Choose what this step does."
        return
    wrong = check_input(action, step.input)
    for problem in wrong:
        yield problem.sentence
    if looks_like_json(step.input):
        yield NOT_JSON
    if not wrong and (message := _mapping_problem(samples, step)):
        yield message


def looks_like_json(value: dict[str, Any]) -> bool:
    """Return whether a JSON body is text that was meant as JSON: it holds a template outside quotes, or a mistake.

    Such a body would be sent as one JSON string, without any error.
    """
    body = value.get("body")
    if value.get("body_type", "json") != "json" or not isinstance(body, str):
        return False
    # It begins as an object or a list does; `{{` and `{%` begin a template, whose result may be anything.
    return re.match(r"\s*(\{(?![{%])|\[)", body) is not None


def _mapping_problem(samples: Samples, step: ActionStep) -> str | None:
    """Return what the step's templates would miss, as far as the samples of the steps that it reads can tell."""
    sources, read = samples.keys_before(step.key), roots(step.input)
    for later in samples.definition.steps:
        if later.key in read and later.key not in sources:
            place = "its own output" if later.key == step.key else f"“{step_title(later)}”, a later step"
            return f"The step reads from {place}."
    if any(samples.output_of(key) is None for key in read.intersection(sources)):
        return None  # a step that it reads has no sample yet: that one's own warning comes first
    try:
        with budget():
            mapping.render(step.input, samples.scope_of(step.key))
    except OverBudget:
        return None  # too much for a page: the step's test renders it
    except mapping.MappingError as error:
        return str(error)
    return None

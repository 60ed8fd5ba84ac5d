"""Sample values for a draft's steps: the results of their tests, else the samples that connectors declare."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Any

from automations.builder.references import roots
from automations.definition import ActionStep, Definition
from automations.models import Automation, StepTest
from connectors.registry import CONNECTORS, find_action
from connectors.sdk.call import JSON

TRIGGER = "trigger"


class Samples:
    """The tests of one draft, and the values that its steps can read; asked once, then kept for the page's lifetime."""

    def __init__(self, automation: Automation, definition: Definition) -> None:
        self.automation = automation
        self.definition = definition

    @cached_property
    def tests(self) -> dict[str, StepTest]:
        return {test.step_key: test for test in self.automation.step_tests.all()}

    @cached_property
    def variables(self) -> dict[str, JSON]:
        """Return the project's variables as people may see them: secret ones masked, because a page shows them."""
        rows = self.automation.project.variables.all()
        return {row.key: row.readable for row in rows}

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Return a digest for the trigger and each step, which changes when it or any step that it reads from changes.

        A test holds for one digest only: so a change of the first step makes the tests of all that read it outdated.
        """
        trigger = self.definition.trigger
        found = {TRIGGER: _digest([trigger.uid, trigger.connector, trigger.event, trigger.config])}
        for step in self.definition.steps:
            own = _configuration(step)
            read = [found[key] for key in sorted(roots(own)) if key in found]  # a step can read earlier ones only
            found[step.key] = _digest([own, read])
        return found

    def test_of(self, key: str) -> StepTest | None:
        """Return the last test of a step; None if the step, or a source that it reads, was changed since."""
        test = self.tests.get(key)
        return test if test and test.fingerprint == self.fingerprints.get(key) else None

    def output_of(self, key: str) -> JSON:
        """Return a step's output in its last successful test, else its declared sample.

        An outdated test counts too: its output is nearer to the truth than a declared sample.
        """
        step = self.definition.find(key)
        if step is not None and step.disabled:
            return None  # as in an execution, which skips it
        test = self.tests.get(key)
        if test and test.is_success and test.output:
            return _loads(test.output)
        return self._declared_sample(key)

    def has_output(self, key: str) -> bool:
        """Return whether a step's output is a tested one, not a declared sample."""
        test = self.tests.get(key)
        return bool(test and test.is_success and test.output)

    def keys_before(self, key: str) -> list[str]:
        """Return the sources that a step can read, nearest last; all of them for a key that no step has."""
        keys = [TRIGGER]
        for step in self.definition.steps:
            if step.key == key:
                break
            keys.append(step.key)
        return keys

    def scope_of(self, key: str) -> dict[str, JSON]:
        """Return the names that a step's templates can read, with their sample values."""
        scope = {source: self.output_of(source) for source in self.keys_before(key)}
        return {**scope, "vars": self.variables}

    def _declared_sample(self, key: str) -> JSON:
        if key == TRIGGER:
            trigger = self.definition.trigger
            connector = CONNECTORS.get(trigger.connector)
            event = connector.event(trigger.event) if connector else None
            return event.sample if event else None
        step = self.definition.find(key)
        action = find_action(step.connector, step.action) if isinstance(step, ActionStep) else None
        return action.sample if action else None


def _configuration(step: Any) -> Any:
    """Return the parts of a step that determine its output, without name, note and rules for errors."""
    if not isinstance(step, ActionStep):
        return step.model_dump(mode="json")
    return [step.connector, step.action, step.connection, step.input, step.disabled]


def _digest(value: Any) -> str:
    # Sorted: a form may send the same fields in another order.
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _loads(text: str) -> JSON:
    try:
        value: JSON = json.loads(text)
    except ValueError:
        return None
    return value

"""What is known of the values that a draft's steps will meet: results of tests, else what connectors declare."""

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
    """The tests of one draft, and the values that its steps can read."""

    def __init__(self, automation: Automation, definition: Definition) -> None:
        self.automation = automation
        self.definition = definition

    @cached_property
    def tests(self) -> dict[str, StepTest]:
        return {test.step_key: test for test in self.automation.step_tests.all()}

    @cached_property
    def variables(self) -> dict[str, JSON]:
        """Return the project's variables as people may see them."""
        rows = self.automation.project.variables.all()
        return {row.key: row.readable for row in rows}

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Return, for the trigger and each step, what changes when it or anything that it reads from changes."""
        trigger = self.definition.trigger
        found = {TRIGGER: _digest([trigger.uid, trigger.connector, trigger.event, trigger.config])}
        for step in self.definition.steps:
            own = _configuration(step)
            read = [found[key] for key in sorted(roots(own)) if key in found]
            found[step.key] = _digest([own, read])
        return found

    def test_of(self, key: str) -> StepTest | None:
        """Return the last test of a step, if the step is still what was tested."""
        test = self.tests.get(key)
        return test if test and test.fingerprint == self.fingerprints.get(key) else None

    def output_of(self, key: str) -> JSON:
        """Return what a step gave in its last successful test, even before a change, or else its declared sample."""
        step = self.definition.find(key)
        if step is not None and step.disabled:
            return None  # as in an execution, which skips it
        test = self.tests.get(key)
        if test and test.is_success and test.output:
            return _loads(test.output)
        return self._declared(key)

    def has_output(self, key: str) -> bool:
        test = self.tests.get(key)
        return bool(test and test.is_success and test.output)

    def keys_before(self, key: str) -> list[str]:
        """Return the sources that a step can read, nearest last; all of them for a key that is none."""
        keys = [TRIGGER]
        for step in self.definition.steps:
            if step.key == key:
                break
            keys.append(step.key)
        return keys

    def scope_of(self, key: str) -> dict[str, JSON]:
        """Return what the templates of a step would read."""
        scope = {source: self.output_of(source) for source in self.keys_before(key)}
        return {**scope, "vars": self.variables}

    def _declared(self, key: str) -> JSON:
        if key == TRIGGER:
            trigger = self.definition.trigger
            connector = CONNECTORS.get(trigger.connector)
            event = connector.event(trigger.event) if connector else None
            return event.sample if event else None
        step = self.definition.find(key)
        action = find_action(step.connector, step.action) if isinstance(step, ActionStep) else None
        return action.sample if action else None


def _configuration(step: Any) -> Any:
    if not isinstance(step, ActionStep):
        return step.model_dump(mode="json")
    return [step.connector, step.action, step.connection, step.input, step.disabled]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _loads(text: str) -> JSON:
    try:
        value: JSON = json.loads(text)
    except ValueError:
        return None
    return value

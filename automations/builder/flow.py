"""The flow beside every pane: one card for each step of the draft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from automations.builder import checks
from automations.builder.samples import Samples
from automations.definition import ActionStep
from automations.models import StepTest
from connectors.registry import CONNECTORS
from connectors.sdk.call import Connector
from connectors.sdk.conditions import Group
from connectors.sdk.mapping import as_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A step as the flow shows it; `position` counts from 1."""

    step: Any
    title: str
    summary: str
    connector: Connector | None
    warnings: list[checks.Finding]
    test: StepTest | None
    is_first: bool
    is_last: bool
    position: int

    @property
    def state(self) -> str:
        """Return disabled, failed (its test), incomplete, untested or tested: the flow draws an icon for each."""
        if self.step.disabled:
            return "disabled"
        if any(not warning.is_untested for warning in self.warnings):
            return "failed" if self.test and not self.test.is_success else "incomplete"
        return "untested" if self.warnings else "tested"


def cards_of(samples: Samples) -> list[Card]:
    steps = samples.definition.steps
    return [
        Card(
            step=step,
            title=checks.step_title(step),
            summary=_summary(step),
            # None for a path, and for a connector that this installation does not have any more.
            connector=CONNECTORS.get(getattr(step, "connector", "")),
            warnings=list(checks.of_step(samples, step)),
            test=samples.test_of(step.key),
            is_first=number == 1,
            is_last=number == len(steps),
            position=number,
        )
        for number, step in enumerate(steps, 1)
    ]


def _summary(step: Any) -> str:
    """Return the first two filled fields of a step's input: what sets it apart from others of its kind."""
    if not isinstance(step, ActionStep):
        return "A path of steps from an import"
    texts = [text for value in step.input.values() if (text := _in_words(value))]
    return " · ".join(texts[:2])[:120]


def _in_words(value: Any) -> str:
    """Return one field's value on one line; nothing for what only its form can show."""
    match value:
        case dict() if "all" in value or "any" in value:
            try:
                return Group.model_validate(value).in_words()
            except ValidationError:
                return ""
        case dict():
            return ", ".join(value)
        case str() | int() | float() if not isinstance(value, bool):  # a lone True says nothing
            return as_text(value)
        case _:
            return ""

"""Condition: go on only if."""

from __future__ import annotations

from pydantic import Field, field_validator

from connectors.sdk.call import JSON, Action, Call, Connector
from connectors.sdk.conditions import Group, checked_size
from connectors.sdk.fields import Input


class ContinueIfInput(Input):
    conditions: Group = Field(
        title="Continue only if", default_factory=Group, json_schema_extra={"widget": "conditions"}
    )

    @field_validator("conditions")
    @classmethod
    def conditions_are_bounded(cls, group: Group) -> Group:
        return checked_size(group)


async def continue_if(call: Call[ContinueIfInput]) -> JSON:
    """Return that the conditions hold, or end the execution saying which one does not."""
    group = call.input.conditions
    if reason := await call.compute.judge(group, call.scope):
        # An unmet condition is what the builder asked for, not a failure.
        call.end(f"The condition was not met: {reason}", output={"continued": False})
    return {"continued": True}


CONNECTOR = Connector(
    key="condition",
    title="Condition",
    icon="git-branch",
    summary="Continue only if conditions hold.",
    actions=(
        Action(
            key="continue_if",
            title="Continue only if",
            summary="Ends the execution as a Success when the conditions do not hold.",
            input=ContinueIfInput,
            run=continue_if,
            sample={"continued": True},
        ),
    ),
)

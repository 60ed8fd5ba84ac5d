"""Wait: pauses the execution, holding no worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from connectors.sdk.call import JSON, Action, Call, Connector
from connectors.sdk.fields import Input

LONGEST = timedelta(days=30)  # what is Paused for longer expires


class WaitInput(Input):
    amount: float = Field(title="Wait for", gt=0, json_schema_extra={"widget": "number"})
    unit: Literal["seconds", "minutes", "hours", "days"] = Field(
        "seconds", title="Unit", json_schema_extra={"widget": "select"}
    )

    @model_validator(mode="after")
    def length_is_bounded(self) -> WaitInput:
        try:
            length = self.length
        except OverflowError:  # more than a timedelta can hold
            length = LONGEST * 2
        if not timedelta(seconds=1) <= length <= LONGEST:
            raise ValueError("The wait must last from 1 second to 30 days.")
        return self

    @property
    def length(self) -> timedelta:
        return timedelta(**{self.unit: self.amount})


async def wait(call: Call[WaitInput]) -> JSON:
    """Return when the wait was over; the first call ends in a Pause, the second one comes back from it."""
    until = await call.pause(call.input.length)
    return {"waited_until": until.isoformat()}


CONNECTOR = Connector(
    key="wait",
    title="Wait",
    icon="hourglass",
    summary="Pause the execution for a while.",
    actions=(
        Action(
            key="for",
            title="Wait for",
            summary="Continues after 1 second to 30 days. Waiting does not use up the allotted time.",
            input=WaitInput,
            run=wait,
            sample={"waited_until": "2026-01-01T12:00:00+00:00"},
        ),
    ),
)

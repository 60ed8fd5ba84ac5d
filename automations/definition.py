"""The definition of an automation: the form in which it is edited, stored in versions, exported and imported."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from connectors.sdk.call import JSON
from connectors.sdk.conditions import Group

FORMAT: Final = 1  # raised by a release whose definitions the one before cannot read
STEP_LIMIT = 100
KEY_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
RESERVED_KEYS = {"trigger", "item", "vars"}  # templates read these beside the steps


class Strict(BaseModel):
    """A part of a definition. An unknown field is an error: dropped silently, a newer release's rule would be lost."""

    model_config = ConfigDict(extra="forbid")


class TriggerPart(Strict):
    """What starts the automation, and under which conditions; `uid` names the `Trigger`, which has URL and secret."""

    uid: str = ""
    connector: str = ""
    event: str = ""
    config: dict[str, Any] = {}
    conditions: Group = Field(default_factory=Group)

    @property
    def is_configured(self) -> bool:
        return bool(self.connector and self.event)

    def starts_by(self, connector: str, event: str) -> bool:
        """Return whether it is of this kind."""
        return (self.connector, self.event) == (connector, event)


class RetryPolicy(Strict):
    """Automatic tries after a failure that may pass; `executions.runner.backoff` says how long each waits."""

    times: int = Field(0, ge=0, le=10)
    backoff_s: float = Field(5, ge=0, le=3600)


class StepPart(Strict):
    """What every kind of step has; `key` is the name under which later steps read its output."""

    key: str = Field(pattern=KEY_PATTERN)
    title: str = Field("", max_length=200)
    note: str = Field("", max_length=2000)
    disabled: bool = False

    @field_validator("key")
    @classmethod
    def key_is_free(cls, key: str) -> str:
        if key in RESERVED_KEYS:
            raise ValueError(f"The reference “{key}” is reserved.")
        return key


class ActionStep(StepPart):
    """One action of a connector. `input` may hold templates, so the action's model checks it when the step runs."""

    kind: Literal["action"] = "action"
    connector: str = ""
    action: str = ""
    connection: str | None = None
    input: dict[str, Any] = {}
    on_error: Literal["stop", "skip"] = "stop"
    retry: RetryPolicy = Field(default_factory=RetryPolicy)
    time_limit_s: float | None = Field(None, gt=0, le=3600)
    if_interrupted: Literal["repeat", "never_repeat"] | None = None  # None: the action's default


class Branch(Strict):
    """One way of a conditional path."""

    title: str = Field("", max_length=200)
    when: Group | None = None  # None: otherwise
    steps: list[Step] = []


class ConditionalPath(StepPart):
    """Steps of the first branch whose conditions hold."""

    kind: Literal["conditional"]
    branches: list[Branch] = []


class RepeatPath(StepPart):
    """Steps that run once for each item of a list, at most `limit` times, `parallel` of them at once."""

    kind: Literal["repeat"]
    over: str = ""
    limit: int = Field(100, ge=1, le=10_000)
    parallel: int = Field(1, ge=1, le=50)
    steps: list[Step] = []


def _kind(value: Any) -> str:
    """Return the kind of a step, stored or read; one that names none is an action, as most are."""
    kind = value.get("kind", "action") if isinstance(value, dict) else getattr(value, "kind", "action")
    return str(kind)


type Step = Annotated[
    Annotated[ActionStep, Tag("action")]
    | Annotated[ConditionalPath, Tag("conditional")]
    | Annotated[RepeatPath, Tag("repeat")],
    Discriminator(_kind),
]


class Definition(Strict):
    """A trigger and its steps. Validation raises ValidationError for what no draft may be; unfinished is no error."""

    format: Literal[1] = FORMAT
    trigger: TriggerPart = Field(default_factory=TriggerPart)
    steps: list[Step] = Field(default=[], max_length=STEP_LIMIT)

    def walk(self) -> Iterator[ActionStep | ConditionalPath | RepeatPath]:
        """Yield every step, those inside paths after their path."""
        yield from _walk(self.steps)

    def find(self, key: str) -> ActionStep | ConditionalPath | RepeatPath | None:
        """Return the step of a key, also from inside a path."""
        return next((step for step in self.walk() if step.key == key), None)

    @property
    def replies(self) -> bool:
        """Return whether a Response step answers the caller, who then waits for it."""
        return any(
            isinstance(step, ActionStep) and step.connector == "response" and not step.disabled for step in self.walk()
        )


class Unreadable(Enum):
    """Why a stored definition cannot be read."""

    NEWER = auto()  # a newer release has written it, and can read it
    BROKEN = auto()


def why_unreadable(stored: JSON) -> Unreadable:
    """Return why validation has failed: an execution of a newer release's definition waits, any other one fails."""
    found = stored.get("format") if isinstance(stored, dict) else None
    return Unreadable.NEWER if isinstance(found, int) and found > FORMAT else Unreadable.BROKEN


def _walk(steps: list[Any]) -> Iterator[Any]:
    for step in steps:
        yield step
        if isinstance(step, ConditionalPath):
            for branch in step.branches:
                yield from _walk(branch.steps)
        elif isinstance(step, RepeatPath):
            yield from _walk(step.steps)


# These name `Step` before it is defined, because paths hold steps.
for model in (Branch, ConditionalPath, RepeatPath, Definition):
    model.model_rebuild()

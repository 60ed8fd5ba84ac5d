"""The port between a connector's action and the world above it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NoReturn, Protocol

from pydantic import BaseModel

type JSON = None | bool | int | float | str | list[JSON] | dict[str, JSON]


class StepError(Exception):
    """A step failed for a reason that its builder can read.

    `code` is a stable machine word; `output` is shown as the step's output (for HTTP the status and body);
    `retryable` lets the step's retry policy try again; `outside` says that the cause is not the builder's to repair;
    `unknown` that it may have acted all the same, so that a step which must never be repeated is not tried again.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "step_failed",
        output: JSON = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        outside: bool = False,
        unknown: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.output = output
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.outside = outside
        self.unknown = unknown


class EndExecution(Exception):
    """The step ends the execution here, as a Success."""

    def __init__(self, reason: str, *, output: JSON = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.output = output


class StopPartially(Exception):
    """A quota stopped the execution here: earlier steps stand, it ends Partially Executed."""

    def __init__(self, reason: str, *, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Pause(Exception):
    """The step waits until `until` without holding a worker; it runs again then, with `Call.paused_until` set."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"until {until.isoformat()}")
        self.until = until


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the caller of a trigger URL gets from a Response step."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: JSON = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    status: int
    headers: dict[str, str]
    body: bytes
    url: str


class Http(Protocol):
    """Outbound HTTP; the only implementation dials through the guard of `connectors.outbound.client`."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: list[tuple[str, str]] | None = None,
        body: bytes | None = None,
        timeout_s: float = 30.0,
        follow_redirects: bool = True,
    ) -> HttpResponse:
        """Return the answer, whatever its status; raise StepError when there is none or it may not be asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    to: list[str]
    cc: list[str]
    bcc: list[str]
    subject: str
    text: str
    html: str | None = None


class Mail(Protocol):
    async def send(self, message: Message, *, key: str) -> str:
        """Send one e-mail and return its Message-ID; raise StopPartially when the month's e-mails are used up."""


@dataclass(slots=True, kw_only=True)
class Call[I: BaseModel]:
    """One call of an action: its checked input, and what it may ask of the world."""

    input: I
    idempotency_key: str
    http: Http
    mail: Mail
    scope: Mapping[str, JSON] = field(default_factory=dict)
    paused_until: datetime | None = None
    is_test: bool = False

    async def pause(self, wait: timedelta) -> datetime:
        """Give the worker back and return after `wait`: the time until which the step was paused."""
        if self.paused_until is not None:
            return self.paused_until
        raise Pause(datetime.now().astimezone() + wait)

    def end(self, reason: str, *, output: JSON = None) -> NoReturn:
        raise EndExecution(reason, output=output)


@dataclass(frozen=True, slots=True)
class Failure:
    """One way in which an action can fail: the `code` of its StepError, and the cause in a builder's words.

    A code with a part that varies names that part: `http_<status>`.
    """

    code: str
    cause: str


type IfInterrupted = Literal["repeat", "never_repeat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action[I: BaseModel]:
    """One thing a step can do. The declaration gives the builder's form, the run-time check and the documentation.

    `acts` says that it reaches outside (so everything before it must be durable first); `if_interrupted` is the
    default for what happens when a worker dies in the middle of it; `replies` marks the Response step.
    """

    key: str
    title: str
    summary: str
    input: type[I]
    run: Callable[[Call[I]], Awaitable[JSON]]
    sample: JSON = None
    errors: tuple[Failure, ...] = ()
    acts: bool = False
    replies: bool = False
    if_interrupted: IfInterrupted = "repeat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One kind of trigger that a connector offers; `is_timed` says that the clock fires it, so that it has no URL."""

    key: str
    title: str
    summary: str
    config: type[BaseModel]
    sample: JSON = None
    is_timed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    key: str
    title: str
    icon: str
    summary: str
    actions: tuple[Action[Any], ...] = ()
    events: tuple[Event, ...] = ()

    def action(self, key: str) -> Action[Any] | None:
        return next((action for action in self.actions if action.key == key), None)

    def event(self, key: str) -> Event | None:
        return next((event for event in self.events if event.key == key), None)

"""What a connector is declared with, and what its actions get, return and raise.

A connector is one `Connector` with its `Action`s and `Event`s. An action's `run` gets a `Call` and returns its output
as plain JSON; whatever it needs of the world is a port of the call, so that a connector imports no network client and
nothing of the product above it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NoReturn, Protocol

from pydantic import BaseModel

type JSON = None | bool | int | float | str | list[JSON] | dict[str, JSON]


class StepError(Exception):
    """Raise it to fail a step, with a sentence that tells the builder what to repair.

    `code` is a stable machine word, declared in the action's `errors`; `output` is shown as the step's output (for HTTP
    the status and body). `retryable` lets the step's retry policy try again, not sooner than `retry_after_s` seconds.
    `external` says that the cause is not the builder's to repair; `unknown` that it may have acted all the same, so
    that a step which must never be repeated is not tried again.

        raise StepError("The invoice is closed.", code="invoice_closed")
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "step_failed",
        output: JSON = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        external: bool = False,
        unknown: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.output = output
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.external = external
        self.unknown = unknown


class EndExecution(Exception):
    """The execution ends with this step, as a Success with a reason; `Call.end` raises it."""

    def __init__(self, reason: str, *, output: JSON = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.output = output


class StopPartially(Exception):
    """A quota of the organization stopped the execution: earlier steps stand, and it ends Partially Executed.

    Ports raise it, as mail does when the month's e-mails are used up; a connector lets it pass.
    """

    def __init__(self, reason: str, *, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class NotBegun(asyncio.CancelledError):
    """The step's time was over before it began to act; its text is a sentence that says so.

    Ports raise it in place of a CancelledError, so that the step may be tried again; a connector lets it pass.
    """


class Pause(Exception):
    """The step waits until `until` without holding a worker; `Call.pause` raises it.

    The action then runs again from its start, with `Call.paused_until` set.
    """

    def __init__(self, until: datetime) -> None:
        super().__init__(f"until {until.isoformat()}")
        self.until = until


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the caller of a trigger URL gets from a Response step: a body that is text is sent as it is."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: JSON = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """The answer to one request, after redirects.

    Header names are lower-case, several of one name are joined by a comma; `body` is what was sent, never decompressed;
    `url` is the last one asked.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    url: str


class Http(Protocol):
    """Outbound HTTP. The only implementation dials through the guard of `connectors.outbound.client`."""

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
        """Return the answer, whatever its status; raise StepError when there is none or the URL may not be called.

        `timeout_s` are the seconds for everything: name, connection, redirects and body. At most 10 MB are read, and at
        most 3 redirects followed. The StepErrors are those of `connectors.sdk.failures.HTTP_FAILURES`.

            response = await call.http.request("GET", "https://api.example.com/orders/7", timeout_s=10)
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One e-mail: checked addresses, a subject of one line, a text and perhaps HTML beside it."""

    to: list[str]
    cc: list[str]
    bcc: list[str]
    subject: str
    text: str
    html: str | None = None


class Mail(Protocol):
    """Outbound e-mail through the mail server of the installation."""

    async def send(self, message: Message, *, key: str) -> str:
        """Send one e-mail and return its Message-ID; `key` is the call's idempotency key.

        Raise StopPartially when the month's e-mails are used up, StepError when the mail server refuses, and NotBegun
        when the step's time ends before its e-mail's turn comes.
        """


class Compute(Protocol):
    """Work whose cost depends on the data: done at once when it is small, else in a process with limits of its own.

    An action must not compute without bound in its own code: hundreds of executions share its thread.
    """

    async def search(self, expression: str, source: JSON) -> JSON:
        """Return what a JMESPath query finds in a value; raise StepError."""

    async def judge(self, group: Any, scope: Mapping[str, JSON]) -> str:
        """Return why a `connectors.sdk.conditions.Group` does not hold, empty when it does; raise StepError."""


@dataclass(slots=True, kw_only=True)
class Call[I: BaseModel]:
    """One call of an action: its checked input, and what it may ask of the world.

    `input` has its templates rendered and its fields checked. `idempotency_key` stays the same when the step is
    repeated after a crash or by its retry policy, and is empty for an action that does not act. `scope` is what
    templates read: the trigger's output as `trigger`, each step's under its key, `vars`. `paused_until` is set when the
    action runs again after its pause; `is_test` when a builder tries the step out.

        async def run(call: Call[OrderInput]) -> JSON:
            response = await call.http.request("GET", f"https://api.example.com/orders/{call.input.id}")
            return {"order": parsed_body(response)}
    """

    input: I
    idempotency_key: str
    http: Http
    mail: Mail
    compute: Compute
    scope: Mapping[str, JSON] = field(default_factory=dict)
    paused_until: datetime | None = None
    is_test: bool = False

    async def pause(self, wait: timedelta) -> datetime:
        """Give the worker back, and return once `wait` is over: the moment until which the step was paused.

        Call it before anything that acts: the action runs again from its start after the pause.
        """
        if self.paused_until is not None:
            return self.paused_until
        raise Pause(datetime.now().astimezone() + wait)

    def end(self, reason: str, *, output: JSON = None) -> NoReturn:
        """End the execution here as a Success; `reason` is a sentence for the log, `output` this step's output."""
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

    `key` is stored in every version and never changes; `title` and `summary` are the builder's words. `input` is a
    model made of `connectors.sdk.fields.Input`; `run` returns the output as plain JSON. `sample` is an output as the
    data picker shows it before the step has ever run. `errors` lists what it raises. `acts` says that it changes
    something outside, so that everything before it is made durable first; `if_interrupted` is the default for what
    happens when a worker dies in the middle of it. `replies` marks the Response step. `computes` says that the output
    is computed from the input alone: when that holds a secret, nobody can tell where it stands in the output.

        Action(key="request", title="HTTP request", summary="Send a request and use the answer in later steps.",
               input=RequestInput, run=request, sample={"status": 200, "headers": {}, "body": {"id": 1}}, acts=True)
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
    computes: bool = False
    if_interrupted: IfInterrupted = "repeat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One kind of trigger that a connector offers.

    `config` is the model of its settings, in which nothing is a template; `sample` is what steps read as `trigger`.
    `is_timed` says that the clock fires it, so that it has no trigger URL.
    """

    key: str
    title: str
    summary: str
    config: type[BaseModel]
    sample: JSON = None
    is_timed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """A kind of service: its name, its icon in static/icons.svg, its actions and its triggers.

    `key` is stored in every version and never changes. A module of `connectors/` holds one, named CONNECTOR.
    """

    key: str
    title: str
    icon: str
    summary: str
    actions: tuple[Action[Any], ...] = ()
    events: tuple[Event, ...] = ()

    def action(self, key: str) -> Action[Any] | None:
        """Return the action with this key, or None: a definition may name one that this release does not have."""
        return next((action for action in self.actions if action.key == key), None)

    def event(self, key: str) -> Event | None:
        """Return the trigger with this key, or None."""
        return next((event for event in self.events if event.key == key), None)

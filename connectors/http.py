"""HTTP: the trigger that a trigger URL feeds, and a request to any API."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from connectors.outbound.addresses import checked_url
from connectors.sdk import exact_json, mapping
from connectors.sdk.answer import parsed_body
from connectors.sdk.call import JSON, Action, Call, Connector, Event, Failure, HttpResponse, StepError
from connectors.sdk.failures import HTTP_FAILURES
from connectors.sdk.fields import HEADER_NAME, PAIRS, Input, Pair, Pairs, Text, sendable
from connectors.sdk.mapping import as_text
from connectors.sdk.problems import quoted

# States of a server that pass; any other 4xx would be the same again.
RETRYABLE = frozenset({408, 425, 429, *range(500, 600)})
RETRY_AFTER_LIMIT_S = 3600.0  # a server may not park an execution for days
# A payload is stored and shown in the log: these may hold a sender's password or session.
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "ah-http-key"})
# They frame the message or belong to the connection: set by hand they smuggle a second request, or name another site
# than the one whose address was checked. Nothing is decompressed, so nobody may ask for compression.
FORBIDDEN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer", "expect",
     "accept-encoding", "proxy-authorization", "proxy-connection"}
)  # fmt: skip
# What the other service keeps from its own logs, too.
HIDDEN_HEADERS = frozenset({"set-cookie", "set-cookie2", "authorization", "proxy-authorization", "www-authenticate"})

DELIVERY_PATH = "trigger.body"  # how a path to a delivery's id begins
HEADER_LIMIT = 40  # characters of the name of a header with a delivery's id, which is stored with it

Headers = Annotated[list[Annotated[Pair, sendable(without=FORBIDDEN_HEADERS)]], PAIRS, Field(max_length=200)]


class RequestInput(Input):
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] = Field(
        "GET", title="Method", json_schema_extra={"widget": "select"}
    )
    url: Text = Field(
        title="URL",
        min_length=1,
        max_length=8000,
        examples=["https://api.example.com/orders/{{ trigger.body.id }}"],
        json_schema_extra={"widget": "text"},
    )
    headers: Headers = Field(default=[], title="Headers", json_schema_extra={"widget": "pairs"})
    query: Pairs = Field(default=[], title="Query parameters", json_schema_extra={"widget": "pairs"})
    body_type: Literal["none", "json", "form", "text"] = Field(
        "none", title="Body", json_schema_extra={"widget": "select"}
    )
    body: Any = Field(
        None,
        title="Body content",
        description="JSON, lines of name=value for a form, or text: as chosen in Body.",
        json_schema_extra={"widget": "json"},
    )
    fail_on_error_status: bool = Field(
        False,
        title="Fail on 4xx / 5xx",
        description="If off, the step succeeds whatever the status of the answer.",
        json_schema_extra={"widget": "switch"},
    )
    timeout_s: float = Field(
        30, title="Timeout in seconds", ge=1, le=120, json_schema_extra={"widget": "number", "advanced": True}
    )
    follow_redirects: bool = Field(
        True, title="Follow redirects", json_schema_extra={"widget": "switch", "advanced": True}
    )

    @field_validator("url")
    @classmethod
    def url_can_be_called(cls, url: str) -> str:
        try:
            checked_url(url)
        except StepError as error:
            raise ValueError(error.message) from None
        return url.strip()

    @model_validator(mode="after")
    def form_has_fields(self) -> RequestInput:
        if self.body_type == "form":
            _fields(self.body)
        return self


async def request(call: Call[RequestInput]) -> JSON:
    """Return status, headers and body of the answer; raise StepError for an error status when that is asked for."""
    given = call.input
    content, content_type = _content(given)
    headers = _headers(given.headers, content_type)
    if given.method not in ("GET", "HEAD", "OPTIONS"):  # a read may be repeated without one
        headers.setdefault("idempotency-key", call.idempotency_key)
    response = await call.http.request(
        given.method,
        given.url,
        headers=headers,
        query=[(pair.name, pair.value) for pair in given.query],
        body=content,
        timeout_s=given.timeout_s,
        follow_redirects=given.follow_redirects,
    )
    output: dict[str, JSON] = {
        "status": response.status,
        "headers": {n.lower(): v for n, v in response.headers.items() if n.lower() not in HIDDEN_HEADERS},
        "body": parsed_body(response),
    }
    if given.fail_on_error_status and response.status >= 400:
        raise _failure(response, output)
    return output


def _headers(given: list[Pair], content_type: str) -> dict[str, str]:
    """Return headers by lower-case name, the builder's own above ours."""
    # Many APIs refuse a request that does not name its sender.
    ours = {"user-agent": "AgentOS", **({"content-type": content_type} if content_type else {})}
    return {**ours, **{header.name.lower(): header.value for header in given}}


def _content(given: RequestInput) -> tuple[bytes | None, str]:
    match given.body_type:
        case "json":
            return exact_json.dumps(given.body), "application/json"
        case "form":
            return urlencode(_fields(given.body)).encode(), "application/x-www-form-urlencoded"
        case "text":
            return as_text(given.body).encode(), "text/plain; charset=utf-8"
        case _:
            return None, ""


def _fields(body: Any) -> list[tuple[str, str]]:
    """Return a form's fields from an object, a list of pairs, or lines of `name=value`."""
    if isinstance(body, str):
        lines = (line.partition("=") for line in body.splitlines() if line.strip())
        return [(name.strip(), value.strip()) for name, _, value in lines]
    try:
        return [(pair.name, pair.value) for pair in TypeAdapter(Pairs).validate_python(body)]
    except ValidationError:
        raise ValueError("Body content must be an object or lines of name=value for a form.") from None


def _failure(response: HttpResponse, output: JSON) -> StepError:
    return StepError(
        f"The server answered with status {response.status}.",
        code=f"http_{response.status}",
        output=output,
        external=response.status >= 500 or response.status == 429,
        retryable=response.status in RETRYABLE,
        retry_after_s=_retry_after(response),
    )


def _retry_after(response: HttpResponse) -> float | None:
    """Return the seconds that the server asked to wait: a number, or a date."""
    text = next((value for name, value in response.headers.items() if name.lower() == "retry-after"), "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_LIMIT_S)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), RETRY_AFTER_LIMIT_S)


class TriggerConfig(Input):
    """What a trigger URL takes, and what of a request's headers its steps may read."""

    methods: list[Literal["GET", "POST"]] = Field(
        ["GET", "POST"], title="Methods", min_length=1, json_schema_extra={"widget": "checkboxes"}
    )
    headers: list[str] = Field(
        [],
        title="Headers to pass on",
        description="Names of the request headers that steps can read as trigger.headers.",
        max_length=50,
        examples=[["X-GitHub-Event"]],
        json_schema_extra={"widget": "list"},
    )

    delivery_id: str = Field(
        "",
        title="Id of a delivery",
        description="Where the sender names a delivery, so that a repetition is known: a header, or a path into the "
        "body. Empty: the headers of known senders.",
        max_length=200,
        examples=["X-Request-Id", "trigger.body.event.id"],
        json_schema_extra={"widget": "text", "advanced": True},
    )
    starts_again: bool = Field(
        False,
        title="Repeated delivery starts a new execution",
        description="If the first one was Rejected, or has failed and has a Response step. One that has failed without "
        "a Response step is retried in any case.",
        json_schema_extra={"widget": "switch", "advanced": True},
    )

    @field_validator("delivery_id")
    @classmethod
    def delivery_id_can_be_read(cls, where: str) -> str:
        where = where.strip().removeprefix("{{").removesuffix("}}").strip()
        if where.startswith(DELIVERY_PATH):
            if not mapping.PATH.fullmatch(where):
                raise ValueError(f"{quoted(where)} is not a path. Write one such as trigger.body.event.id.")
            return where
        if where and (not HEADER_NAME.fullmatch(where) or len(where) > HEADER_LIMIT or where.startswith("trigger.")):
            raise ValueError(f"{quoted(where)} is neither a header nor a path such as trigger.body.event.id.")
        if where.lower() in SECRET_HEADERS:
            raise ValueError(f"The header {where} may hold a secret and is never stored.")
        return where

    @field_validator("headers")
    @classmethod
    def headers_can_be_passed_on(cls, headers: list[str]) -> list[str]:
        for name in headers:
            if not HEADER_NAME.fullmatch(name):
                raise ValueError(f"{quoted(name)} is not a valid header name.")
            if name.lower() in SECRET_HEADERS:
                raise ValueError(f"The header {name} may hold a secret and is never passed on.")
        return headers


CONNECTOR = Connector(
    key="http",
    title="HTTP",
    icon="globe",
    summary="Start when a request arrives, or call any API.",
    actions=(
        Action(
            key="request",
            title="HTTP request",
            summary="Send a request and use the answer in later steps.",
            input=RequestInput,
            run=request,
            sample={"status": 200, "headers": {"content-type": "application/json"}, "body": {"id": 1}},
            errors=(
                *HTTP_FAILURES,
                Failure("http_<status>", "The server answered with this status, and *Fail on 4xx / 5xx* is on."),
            ),
            acts=True,
        ),
    ),
    events=(
        Event(
            key="request",
            title="HTTP request received",
            summary="Starts when a POST or GET request reaches the trigger URL.",
            config=TriggerConfig,
            sample={
                "method": "POST",
                "query": {},
                "headers": {"content-type": "application/json"},
                "body": {"id": "A-17", "customer": {"name": "Ada Lovelace"}, "total": 100},
            },
        ),
    ),
)

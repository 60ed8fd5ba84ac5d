"""HTTP: the trigger that a trigger URL feeds, and a request to any API."""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, field_validator

from connectors import payload
from connectors.call import JSON, Action, Call, Connector, Event, HttpResponse, StepError
from connectors.mapping import as_text

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FORBIDDEN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
HIDDEN_HEADERS = frozenset({"set-cookie", "authorization", "www-authenticate"})


class Pair(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    name: str
    value: str = ""


class RequestInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] = Field(
        "GET", title="Method", json_schema_extra={"widget": "select"}
    )
    url: str = Field(
        title="URL",
        min_length=1,
        max_length=8000,
        examples=["https://api.example.com/orders/{{ trigger.body.id }}"],
        json_schema_extra={"widget": "text"},
    )
    headers: list[Pair] = Field([], title="Headers", json_schema_extra={"widget": "pairs"})
    query: list[Pair] = Field([], title="Query parameters", json_schema_extra={"widget": "pairs"})
    body_type: Literal["none", "json", "form", "text"] = Field(
        "none", title="Body", json_schema_extra={"widget": "select"}
    )
    body: Any = Field(
        None,
        title="Body content",
        description="JSON, name=value lines for a form, or text, as chosen above.",
        json_schema_extra={"widget": "json"},
    )
    fail_on_error_status: bool = Field(
        False,
        title="Fail on 4xx / 5xx",
        description="Otherwise the step succeeds with whatever status comes back.",
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
    def url_is_http(cls, url: str) -> str:
        if not re.match(r"https?://[^/?#\s]", url.strip(), re.IGNORECASE):
            raise ValueError("must start with http:// or https:// and a host")
        return url.strip()

    @field_validator("headers")
    @classmethod
    def headers_can_be_sent(cls, headers: list[Pair]) -> list[Pair]:
        for header in headers:
            if not HEADER_NAME.fullmatch(header.name):
                raise ValueError(f"“{header.name[:50]}” is not a header name")
            if header.name.lower() in FORBIDDEN_HEADERS:
                raise ValueError(f"{header.name} is set by AgentOS")
            if re.search(r"[\r\n\0]", header.value):
                raise ValueError(f"the value of {header.name} has a line break")
        return headers


async def request(call: Call[RequestInput]) -> JSON:
    given = call.input
    content, content_type = _content(given)
    names = {header.name.lower() for header in given.headers}
    headers = {header.name: header.value for header in given.headers}
    if content_type and "content-type" not in names:
        headers["Content-Type"] = content_type
    if given.method not in ("GET", "HEAD") and "idempotency-key" not in names:
        headers["Idempotency-Key"] = call.idempotency_key
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
        "body": _body(response),
    }
    if given.fail_on_error_status and response.status >= 400:
        raise _failure(response, output)
    return output


def _content(given: RequestInput) -> tuple[bytes | None, str]:
    match given.body_type:
        case "json":
            return payload.dumps(given.body), "application/json"
        case "form":
            return urlencode(_fields(given.body)).encode(), "application/x-www-form-urlencoded"
        case "text":
            return as_text(given.body).encode(), "text/plain; charset=utf-8"
        case _:
            return None, ""


def _fields(body: Any) -> list[tuple[str, str]]:
    if isinstance(body, dict):
        return [(str(name), as_text(value)) for name, value in body.items()]
    lines = (line.partition("=") for line in as_text(body).splitlines() if line.strip())
    return [(name.strip(), value.strip()) for name, _, value in lines]


def _body(response: HttpResponse) -> JSON:
    """Return JSON as its value, other text as text; what is neither is named, not stored."""
    kind = next((v for n, v in response.headers.items() if n.lower() == "content-type"), "").lower()
    if not response.body:
        return None
    if "json" in kind:
        try:
            return payload.loads(response.body)
        except ValueError:
            pass
    try:
        return response.body.decode()
    except UnicodeDecodeError:
        return f"({len(response.body)} bytes of {kind.partition(';')[0] or 'unknown type'}, not stored)"


def _failure(response: HttpResponse, output: JSON) -> StepError:
    after = next((v for n, v in response.headers.items() if n.lower() == "retry-after"), "")
    return StepError(
        f"The server answered with status {response.status}.",
        code=f"http_{response.status}",
        output=output,
        outside=response.status >= 500 or response.status == 429,
        retryable=response.status in RETRYABLE,
        retry_after_s=min(float(after), 3600.0) if after.isdigit() else None,
    )


class TriggerConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    methods: list[Literal["GET", "POST"]] = Field(
        ["GET", "POST"], title="Methods", min_length=1, json_schema_extra={"widget": "checkboxes"}
    )
    headers: list[str] = Field(
        [],
        title="Headers to pass on",
        description="Names of request headers that steps may read as trigger.headers.",
        json_schema_extra={"widget": "list"},
    )


CONNECTOR = Connector(
    key="http",
    title="HTTP",
    icon="globe",
    summary="Start on a request to a URL of your own, or call any API.",
    actions=(
        Action(
            key="request",
            title="HTTP request",
            summary="Send a request and use the answer in later steps.",
            input=RequestInput,
            run=request,
            sample={"status": 200, "headers": {"content-type": "application/json"}, "body": {"id": 1}},
            acts=True,
        ),
    ),
    events=(
        Event(
            key="request",
            title="HTTP request received",
            summary="Starts when somebody posts to (or gets) the trigger URL.",
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

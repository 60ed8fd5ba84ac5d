"""Response: answers the caller of the trigger URL, who waits for it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from connectors.sdk.call import JSON, Action, Call, Connector
from connectors.sdk.fields import PAIRS, Input, Pair, sendable

# A cookie would be ours; the others belong to the connection, or keep a reply harmless in a browser.
FORBIDDEN_HEADERS = frozenset(
    {
        "set-cookie", "set-cookie2", "content-length", "content-encoding", "transfer-encoding", "connection",
        "keep-alive", "upgrade", "te", "trailer", "proxy-authenticate", "proxy-authorization", "proxy-connection",
        "content-security-policy", "content-security-policy-report-only", "x-content-type-options",
        "access-control-allow-credentials", "clear-site-data", "service-worker-allowed", "strict-transport-security",
        "date", "server", "x-request-id",
    }
)  # fmt: skip
Headers = Annotated[list[Annotated[Pair, sendable(without=FORBIDDEN_HEADERS)]], PAIRS, Field(max_length=200)]


class ResponseInput(Input):
    status: int = Field(200, title="Status", ge=200, le=599, json_schema_extra={"widget": "number"})
    headers: Headers = Field(default=[], title="Headers", json_schema_extra={"widget": "pairs", "advanced": True})
    body: Any = Field(
        None, title="Body", description="An object or list is sent as JSON, a text as plain text.",
        examples=["{{ transform }}"], json_schema_extra={"widget": "json"},
    )  # fmt: skip


async def send(call: Call[ResponseInput]) -> JSON:
    """Return the reply as this step's output: whoever waits for the execution reads it there."""
    given = call.input
    return {
        "status": given.status,
        "headers": {header.name: header.value for header in given.headers},
        "body": given.body,
    }


CONNECTOR = Connector(
    key="response",
    title="Response",
    icon="reply",
    summary="Answer the caller of the trigger URL.",
    actions=(
        Action(
            key="send",
            title="Send the response",
            summary="The caller waits for the response. Executions with this step cannot be retried.",
            input=ResponseInput,
            run=send,
            sample={"status": 200, "headers": {}, "body": {"ok": True}},
            replies=True,
        ),
    ),
)

"""Response: answers the caller of the trigger URL, who waits for it."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from connectors.call import JSON, Action, Call, Connector
from connectors.http import HEADER_NAME, Pair

FORBIDDEN_HEADERS = frozenset(
    {"set-cookie", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer",
     "content-security-policy", "x-content-type-options", "proxy-authenticate", "content-encoding", "date", "server",
     "access-control-allow-credentials", "clear-site-data", "strict-transport-security", "x-request-id"}
)  # fmt: skip


class ResponseInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    status: int = Field(200, title="Status", ge=200, le=599, json_schema_extra={"widget": "number"})
    headers: list[Pair] = Field([], title="Headers", json_schema_extra={"widget": "pairs", "advanced": True})
    body: Any = Field(
        None, title="Body", description="An object or list is sent as JSON, text as plain text.",
        examples=["{{ transform }}"], json_schema_extra={"widget": "json"},
    )  # fmt: skip

    @field_validator("headers")
    @classmethod
    def headers_are_harmless(cls, headers: list[Pair]) -> list[Pair]:
        for header in headers:
            if not HEADER_NAME.fullmatch(header.name) or re.search(r"[^\t\x20-\x7e]", header.value):
                raise ValueError(f"“{header.name[:50]}” cannot be sent as a header")
            if header.name.lower() in FORBIDDEN_HEADERS:
                raise ValueError(f"{header.name} may not be set by a reply")
        return headers


async def send(call: Call[ResponseInput]) -> JSON:
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
    summary="Answer whoever called the trigger URL.",
    actions=(
        Action(
            key="send",
            title="Send the response",
            summary="The caller waits for it; executions with one cannot be retried.",
            input=ResponseInput,
            run=send,
            sample={"status": 200, "headers": {}, "body": {"ok": True}},
            replies=True,
        ),
    ),
)

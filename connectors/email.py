"""E-mail through the installation's mail server, counted against the organization's month."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, field_validator, model_validator

from connectors.sdk.call import JSON, Action, Call, Connector, Message
from connectors.sdk.failures import MAIL_FAILURES
from connectors.sdk.fields import Input, Text
from connectors.sdk.problems import quoted

RECIPIENT_LIMIT = 50  # an e-mail counts once in its month, however many people get it
SUBJECT_LIMIT = 500
TEXT_LIMIT = 500_000
# Narrower than the standard: quoted names, comments and address literals are read differently by different servers.
ADDRESS = re.compile(
    r"(?=[^@]{1,64}@)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)


def _addresses(value: Any) -> list[str]:
    """Return addresses from a list or comma-separated text, each checked alone."""
    parts = value if isinstance(value, list) else str(value or "").split(",")
    found = [str(part).strip() for part in parts if str(part).strip()]
    for address in found:
        if len(address) > 254 or not ADDRESS.fullmatch(address):
            raise ValueError(f"{quoted(address)} is not an e-mail address.")
    return found


class SendInput(Input):
    to: list[str] = Field(
        title="To", description="Addresses, separated by commas.", examples=["ada@example.com"],
        json_schema_extra={"widget": "text"},
    )  # fmt: skip
    cc: list[str] = Field([], title="Cc", json_schema_extra={"widget": "text", "advanced": True})
    bcc: list[str] = Field([], title="Bcc", json_schema_extra={"widget": "text", "advanced": True})
    subject: Text = Field(title="Subject", min_length=1, json_schema_extra={"widget": "text"})
    text: Text = Field("", title="Text", max_length=TEXT_LIMIT, json_schema_extra={"widget": "textarea"})
    html: Text = Field(
        "", title="HTML", description="The e-mail then holds both the text and the HTML.", max_length=TEXT_LIMIT,
        json_schema_extra={"widget": "textarea", "advanced": True},
    )  # fmt: skip

    @field_validator("to", "cc", "bcc", mode="before")
    @classmethod
    def addresses_are_checked(cls, value: Any) -> list[str]:
        return _addresses(value)

    @field_validator("subject")
    @classmethod
    def subject_is_one_line(cls, subject: str) -> str:
        # A line break would begin another header, and the subject may hold a stranger's text.
        if re.search(r"[\r\n\0]", subject):
            raise ValueError("Subject must be one line.")
        return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", subject).split())[:SUBJECT_LIMIT]

    @model_validator(mode="after")
    def recipients_are_bounded(self) -> SendInput:
        if not self.to:
            raise ValueError("To is empty.")
        if len(self.to) + len(self.cc) + len(self.bcc) > RECIPIENT_LIMIT:
            raise ValueError(f"An e-mail can have at most {RECIPIENT_LIMIT} recipients.")
        return self


async def send(call: Call[SendInput]) -> JSON:
    """Return the e-mail's Message-ID and the number of its recipients."""
    given = call.input
    message_id = await call.mail.send(
        Message(
            to=given.to, cc=given.cc, bcc=given.bcc, subject=given.subject, text=given.text, html=given.html or None
        ),
        key=call.idempotency_key,
    )
    return {"message_id": message_id, "recipients": len(given.to) + len(given.cc) + len(given.bcc)}


CONNECTOR = Connector(
    key="email",
    title="Email",
    icon="mail",
    summary="Send an e-mail.",
    actions=(
        Action(
            key="send",
            title="Send an e-mail",
            summary="Sends through the mail server of this installation.",
            input=SendInput,
            run=send,
            sample={"message_id": "<1@agentos>", "recipients": 1},
            errors=MAIL_FAILURES,
            acts=True,
            if_interrupted="never_repeat",  # two e-mails are worse than a step that says it may have sent one
        ),
    ),
)

"""The answers of trigger URLs, as the sender gets them."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.conf import settings

from connectors.response import FORBIDDEN_HEADERS
from connectors.sdk.call import JSON
from connectors.sdk.fields import HEADER_NAME, HEADER_VALUE
from executions import sealed_json
from executions.intake.body import Busy, Refused
from executions.intake.live_trigger import LiveTrigger
from executions.intake.replies import End
from executions.stop import CANCELLED
from executions.store import errors
from executions.store.rows import ReplyRow

NO_STORE = ("cache-control", "no-store")
WITHOUT_BODY = (204, 205, 304)  # statuses with which HTTP allows no body


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)


def refusal(refused: Refused, request_id: str) -> Answer:
    error: JSON = {"code": refused.code, "message": refused.message, "request_id": request_id}
    body: JSON = {**refused.extra, "error": error}
    return Answer(status=refused.status, body=sealed_json.dumps(body).encode(), headers=[*refused.headers, NO_STORE])


def server_full() -> Busy:
    return Busy(503, "server_full", "The server has as many requests open as it can. Nothing was stored.")


def json_answer(status: int, body: JSON, *headers: tuple[str, str]) -> Answer:
    return Answer(status=status, body=sealed_json.dumps(body).encode(), headers=[*headers, NO_STORE])


def accepted_answer(live: LiveTrigger, execution_id: str, status: str = "pending") -> Answer:
    url = status_url(live, execution_id)
    return json_answer(202, {"execution_id": execution_id, "status": status, "status_url": url}, ("Location", url))


def in_doubt(live: LiveTrigger, execution_id: str) -> Refused:
    """Return the answer when nobody knows whether the execution is stored, neither as accepted nor as refused."""
    message = (
        "The database went away before it confirmed the request, so it is not known whether it is stored. The address "
        "in status_url tells once the database is back. With the same Idempotency-Key the request can be sent again."
    )
    about: dict[str, JSON] = {"execution_id": execution_id, "status_url": status_url(live, execution_id)}
    headers = [("Retry-After", str(errors.RETRY_AFTER_S))]
    return Refused(504, "in_doubt", message, headers=headers, extra=about)


def status_url(live: LiveTrigger, execution_id: str) -> str:
    return f"{settings.BASE_URL}/v1/projects/{live.project_id}/executions/{execution_id}"


def reply_answer(live: LiveTrigger, execution_id: str, reply: ReplyRow | End) -> Answer:
    """Return the answer of a Response step; raise Refused, with the execution's id, when there is none."""
    about: dict[str, JSON] = {"execution_id": execution_id, "status_url": status_url(live, execution_id)}
    if reply is End.STOPPING:
        message = "AgentOS is stopping, so nobody waits for the reply any more. The execution continues."
        raise Refused(504, "reply_interrupted", message, extra=about)
    if isinstance(reply, End):
        message = f"The execution gave no reply within {settings.REPLY_LIMIT_S:g} s. It continues."
        raise Refused(504, "reply_timeout", message, extra=about)
    if reply.unreadable:
        raise Refused(502, "unreadable_reply", f"The reply {reply.unreadable}.", extra=about)
    if not isinstance(reply.output, dict) and reply.reason_code == CANCELLED:  # by whom is not for strangers
        message = "The execution was cancelled before it reached a Response step."
        raise Refused(502, "cancelled", message, extra=about)
    if not isinstance(reply.output, dict):
        message = f"The execution ended as {reply.status.label} before it reached a Response step."
        raise Refused(502, "no_reply", message, extra=about)
    return _reply(reply.output, execution_id)


def _reply(output: dict[str, JSON], execution_id: str) -> Answer:
    headers = output.get("headers")
    given = _harmless(headers if isinstance(headers, dict) else {})
    content_type = given.pop("content-type", "")
    given.setdefault(*NO_STORE)
    body = output.get("body")
    if isinstance(body, str):
        content, default = body.encode("utf-8", "replace"), "text/plain; charset=utf-8"
    else:
        content, default = sealed_json.dumps(body).encode(), "application/json"
    status = output.get("status")
    status = status if isinstance(status, int) and 200 <= status <= 599 else 200
    return Answer(
        status=status,
        body=b"" if status in WITHOUT_BODY else content,
        content_type=content_type or default,
        headers=[*given.items(), ("X-Execution-Id", execution_id)],
    )


def _harmless(headers: dict[str, JSON]) -> dict[str, str]:
    """Return the headers that a reply may set, checked again, however they came to be stored."""
    given = {name.lower(): str(value) for name, value in headers.items()}
    return {
        name: value
        for name, value in given.items()
        if name not in FORBIDDEN_HEADERS and HEADER_NAME.fullmatch(name) and HEADER_VALUE.fullmatch(value)
    }

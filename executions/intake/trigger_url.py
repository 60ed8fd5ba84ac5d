"""Trigger URLs, `/automations-api/run/<32 hex>`: a plain WSGI callable ahead of Django's handler, for speed.

It is the only entrance for strangers. It ignores cookies; `executions.intake.request` bounds and checks a request
before anything is stored, and 202 is answered only after the commit.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import uuid_utils
from django.conf import settings

from connectors.response import FORBIDDEN_HEADERS
from connectors.sdk.call import JSON, StepError
from connectors.sdk.fields import HEADER_NAME, HEADER_VALUE
from executions import sealed_json
from executions.computing import compute_for
from executions.intake import acceptance
from executions.intake.body import Refused
from executions.intake.group_commit import Unavailable
from executions.intake.live_trigger import LiveTrigger, find_trigger, new_execution
from executions.intake.request import METHODS, Request
from executions.models import Outcome
from executions.store.away import AWAY, forget_connection
from executions.store.rows import DeliveryId, ReplyRow

logger = logging.getLogger(__name__)

PREFIX = "/automations-api/run/"
TRIGGER_UID = re.compile(r"[0-9a-f]{32}")
TRIES = 3  # fresh look-ups for a request whose automation changes meanwhile
NO_STORE = ("cache-control", "no-store")
WITHOUT_BODY = (204, 205, 304)  # statuses with which HTTP allows no body

STATUS_LINES = {
    200: "200 OK", 202: "202 Accepted", 400: "400 Bad Request", 401: "401 Unauthorized", 404: "404 Not Found",
    405: "405 Method Not Allowed", 409: "409 Conflict", 411: "411 Length Required", 413: "413 Content Too Large",
    414: "414 URI Too Long", 415: "415 Unsupported Media Type", 422: "422 Unprocessable Content",
    429: "429 Too Many Requests",
    431: "431 Request Header Fields Too Large", 500: "500 Internal Server Error", 502: "502 Bad Gateway",
    503: "503 Service Unavailable", 504: "504 Gateway Timeout",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer one request (WSGI); every error inside becomes an answer with a code and a request id."""
    request_id = uuid_utils.uuid7().hex
    try:
        answer = respond(environ)
    except Refused as refused:
        answer = refusal(refused, request_id)
    except (*AWAY, Unavailable):
        forget_connection()
        answer = refusal(UNAVAILABLE, request_id)
    except Exception:
        logger.exception("trigger URL, request %s", request_id)
        answer = refusal(
            Refused(500, "internal_error", "AgentOS failed with an unexpected error. Nothing was stored."), request_id
        )
    start_response(
        STATUS_LINES.get(answer.status, f"{answer.status} Status"),
        [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            ("X-Request-Id", request_id),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "sandbox"),  # a reply never has the powers of the builder's origin
            *answer.headers,
        ],
    )
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else answer.body]


UNAVAILABLE = Refused(
    503,
    "unavailable",
    "The database is unreachable. Nothing was stored: send the request again.",
    headers=[("Retry-After", "5")],
)
NOT_FOUND = Refused(404, "not_found", "No trigger has this address.")
LIMIT_REACHED = Refused(429, "hard_limit", acceptance.LIMIT_REACHED)
KEY_REUSED = Refused(422, "idempotency_key_reused", acceptance.KEY_REUSED)


def refusal(refused: Refused, request_id: str) -> Answer:
    error: JSON = {"code": refused.code, "message": refused.message, "request_id": request_id}
    body: JSON = {**refused.extra, "error": error}
    return Answer(status=refused.status, body=sealed_json.dumps(body).encode(), headers=[*refused.headers, NO_STORE])


def respond(environ: dict[str, Any]) -> Answer:
    """Try the cached trigger first; before refusing a request, look the trigger up afresh. Raise Refused."""
    request = Request(environ)
    uid = environ["PATH_INFO"][len(PREFIX) :]
    for is_fresh in (False, *[True] * TRIES):
        live = find_trigger(uid, is_fresh=is_fresh) if TRIGGER_UID.fullmatch(uid) else None
        try:
            request.check_head()
            if live is None:
                raise NOT_FOUND
            payload = admitted(live, request)
            delivery = request.delivery(payload)
        except Refused as refused:
            if live is None or is_fresh:
                if live is not None:
                    leave_refusal(live, refused)
                raise
            continue
        try:
            return start(live, payload, delivery, is_fresh=is_fresh)
        except acceptance.Stale:
            continue
        except acceptance.LimitReached:
            raise LIMIT_REACHED from None
        except acceptance.Duplicate as duplicate:
            return repeated(live, delivery, duplicate)
    raise UNAVAILABLE


def admitted(live: LiveTrigger, request: Request) -> dict[str, JSON]:
    """Return the trigger's output; check the cheapest reasons for a refusal first, and read the body last."""
    config = live.definition.trigger.config if live.definition else {}
    request.check_method(config.get("methods") or METHODS)
    check_secret(live, request.secret)
    check_active(live)
    return request.payload(config)


def check_secret(live: LiveTrigger, given: str) -> None:
    if live.secret and not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), live.secret.encode()):
        which = "wrong" if given else "missing"
        message = f"The secret is {which}. Send it as header or query parameter ah-http-key."
        raise Refused(401, "secret_invalid" if given else "secret_missing", message)


def check_active(live: LiveTrigger) -> None:
    if not live.is_active or live.definition is None:
        message = "The automation of this trigger is not active."
        raise Refused(409, "not_activated", message, extra={"result": message, "trigger_id": live.trigger_uid})


def start(live: LiveTrigger, payload: dict[str, JSON], delivery: DeliveryId | None, *, is_fresh: bool) -> Answer:
    """Check the conditions and store the execution; with a Response step wait for the reply."""
    assert live.definition is not None
    group = live.definition.trigger.conditions
    try:
        reason = compute_for(live.organization_id).judge_now(group, {"trigger": payload}) if group.members else ""
    except StepError as error:
        if error.retryable:
            raise Refused(503, "compute_busy", error.message, headers=[("Retry-After", "5")]) from None
        refused = Refused(422, "conditions_not_computed", error.message)
        leave_refusal(live, refused)
        raise refused from None
    if reason:
        if not is_fresh:  # the cached conditions may be old ones
            raise acceptance.Stale
        acceptance.leave_receipt(live, Outcome.CONDITIONS_NOT_MET, 200, "conditions_not_met", reason)
        return json_answer(200, {"result": "conditions not met", "reason": reason})
    ticket = acceptance.accept(new_execution(live, payload, delivery))
    execution_id = str(ticket.stored())
    if live.definition.replies:
        return reply_answer(live, execution_id, ticket.reply())
    return accepted_answer(live, execution_id)


def repeated(live: LiveTrigger, delivery: DeliveryId | None, duplicate: acceptance.Duplicate) -> Answer:
    """Answer a repeated delivery as the first one was answered; raise Refused for other content under the same key."""
    if delivery and delivery.must_match and not duplicate.is_same:
        raise KEY_REUSED
    execution_id = str(duplicate.execution_id)
    if live.definition is not None and live.definition.replies:
        answer = reply_answer(live, execution_id, acceptance.reply_of(duplicate.execution_id))
    else:
        answer = accepted_answer(live, execution_id)
    return replace(answer, headers=[*answer.headers, ("Idempotency-Replayed", "true")])


def leave_refusal(live: LiveTrigger, refused: Refused) -> None:
    """Leave the receipt of a refusal, which in a flood is only counted (see `acceptance.leave_receipt`)."""
    with suppress(Unavailable):  # the refusal is true whether or not it can be stored
        acceptance.leave_receipt(live, Outcome.REFUSED, refused.status, refused.code, refused.message)


def json_answer(status: int, body: JSON, *headers: tuple[str, str]) -> Answer:
    return Answer(status=status, body=sealed_json.dumps(body).encode(), headers=[*headers, NO_STORE])


def accepted_answer(live: LiveTrigger, execution_id: str) -> Answer:
    url = status_url(live, execution_id)
    return json_answer(202, {"execution_id": execution_id, "status": "pending", "status_url": url}, ("Location", url))


def status_url(live: LiveTrigger, execution_id: str) -> str:
    return f"{settings.BASE_URL}/v1/projects/{live.project_id}/executions/{execution_id}"


def reply_answer(live: LiveTrigger, execution_id: str, reply: ReplyRow | None) -> Answer:
    about: dict[str, JSON] = {"execution_id": execution_id, "status_url": status_url(live, execution_id)}
    if reply is None:
        message = f"The execution gave no reply within {settings.REPLY_LIMIT_S:g} s. It continues."
        raise Refused(504, "reply_timeout", message, extra=about)
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

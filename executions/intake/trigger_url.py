"""Trigger URLs, `/automations-api/run/<32 hex>`: answered in the event loop, ahead of Django, for speed.

It is the only entrance for strangers. It ignores cookies; `executions.intake.request` bounds and checks a request
before anything is stored, and 202 is answered only after the commit. Nothing here waits in a thread: look-ups, commits
and replies are awaited, and so is a body, however slowly it comes.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial

import uuid_utils
from django.conf import settings

from connectors.compute.shared import Compute
from connectors.sdk.call import JSON, StepError
from executions.computing import compute_for
from executions.intake import acceptance
from executions.intake.answers import Answer, accepted_answer, in_doubt, json_answer, refusal, reply_answer
from executions.intake.body import Busy, Refused
from executions.intake.fair_threads import FairThreads, Join, Unavailable
from executions.intake.live_trigger import LiveTrigger, new_execution
from executions.intake.look_ups import look_ups
from executions.intake.lost_answer import InDoubt
from executions.intake.message import Message
from executions.intake.reading import Held, Receive, bodies, hang_up, read_body
from executions.intake.redelivery import present_status
from executions.intake.replies import End, Wait
from executions.intake.request import METHODS, Request
from executions.intake.shares import Shares
from executions.intake.ticket import accept, reply_of
from executions.models import Outcome
from executions.store import errors
from executions.store.rows import DeliveryId, NewExecution
from projects import quiet

logger = logging.getLogger(__name__)

PREFIX = "/automations-api/run/"
TRIGGER_UID = re.compile(r"[0-9a-f]{32}")
REPLAYED = ("Idempotency-Replayed", "true")
TRIES = 3  # fresh look-ups for a request whose automation changes meanwhile
LARGE = 256 * 1024  # bytes of a body that is parsed in a thread, because the event loop would stand still meanwhile
PARSERS = 2  # such threads; an organization keeps one of them busy

type Making = partial[JSON | Future[JSON]]


@dataclass(slots=True)
class Call:
    """One request at a trigger URL on its way: what the web server gives, and how far it has come."""

    message: Message
    receive: Receive
    client: Hashable  # whose share a look-up uses
    request: Request
    held: Held | None = None  # the memory of the body, once it is being read
    is_read: bool = False  # whether the body has come
    execution: NewExecution | None = None  # to be stored
    stored: Answer | None = None  # can be given in any case, from the commit on

    def forget_body(self) -> None:
        """Let go of everything large: whoever waits for a reply must cost little memory."""
        self.message.body = b""
        self.execution = None
        if self.held:
            self.held.close()


@cache
def callers() -> Shares:
    """Return the shares of the callers who wait for a Response step, by organization."""
    return Shares(settings.WAITING_CALLERS)


@cache
def parsers() -> FairThreads[Making, JSON | Future[JSON]]:
    return FairThreads("body-parser", _parse, threads=PARSERS, batch=1, at_once=(1,))


def _parse(work: Sequence[Making], _join: Join[Making]) -> list[JSON | Future[JSON] | Exception]:
    try:
        return [work[0]()]
    except Exception as error:
        return [error]


async def answer(message: Message, receive: Receive, client: Hashable) -> Answer | None:
    """Answer one request; every error inside becomes an answer with a code and a request id. None: the caller left."""
    request_id = uuid_utils.uuid7().hex
    call = Call(message, receive, client, Request(message))
    try:
        given = await respond(call)
    except Refused as refused:
        given = refusal(refused, request_id)
    except Unavailable as error:
        given = call.stored or refusal(unavailable(str(error)), request_id)
    except Exception:
        logger.exception("trigger URL, request %s", request_id)
        given = call.stored or refusal(internal_error(), request_id)
    finally:
        call.forget_body()
    if given:
        given.headers.append(("X-Request-Id", request_id))
    return given


def unavailable(why: str) -> Refused:
    message = f"{why} Nothing was stored: send the request again."
    return Refused(503, "unavailable", message, headers=[("Retry-After", str(errors.RETRY_AFTER_S))])


def keeps_quiet() -> Refused:
    """Say no more to strangers than they need."""
    message = "This installation takes no requests for now. Nothing was stored: send the request again later."
    return Refused(503, "quiet", message, headers=[("Retry-After", str(quiet.RETRY_AFTER_S))])


def internal_error() -> Refused:
    return Refused(500, "internal_error", "AgentOS failed with an unexpected error. Nothing was stored.")


async def respond(call: Call) -> Answer | None:
    """Try the cached trigger first; before refusing a request, look the trigger up afresh. Raise Refused."""
    if quiet.reason():
        raise keeps_quiet()
    uid = call.message.path[len(PREFIX) :]
    for is_fresh in (False, *[True] * TRIES):
        live = await look_ups().find(uid, call.client, is_fresh=is_fresh) if TRIGGER_UID.fullmatch(uid) else None
        try:
            unmet = await admitted(live, call)
        except Busy:
            raise
        except Refused as refused:
            if live is None:
                raise
            is_cut = call.held is not None and not call.is_read
            if not is_fresh and not is_cut:
                continue
            await leave_refusal(live, refused)
            raise
        assert live is not None
        if unmet and not is_fresh:  # the cached conditions may be old ones
            continue
        if unmet:
            await acceptance.leave_receipt(live, Outcome.CONDITIONS_NOT_MET, 200, "conditions_not_met", unmet)
            return json_answer(200, {"result": "conditions not met", "reason": unmet})
        try:
            return await start(live, call)
        except acceptance.Stale:
            continue
    raise unavailable("The automation changes again and again.")


async def admitted(live: LiveTrigger | None, call: Call) -> str:
    """Check the cheapest reasons for a refusal first, and read the body last; then make the execution.

    Return "", or why the conditions are not met. Raise Refused.
    """
    call.request.check_head()
    if live is None:
        raise Refused(404, "not_found", "No trigger has this address.")
    config = live.definition.trigger.config if live.definition else {}
    call.request.check_method(config.get("methods") or METHODS)
    check_secret(live, call.request.secret)
    check_active(live)
    if not call.is_read and call.message.method == "POST":
        call.held = Held(bodies(), live.organization_id)
        call.message.body = await read_body(call.receive, call.message, call.held, limit=settings.BODY_LIMIT)
    call.is_read = True
    compute = compute_for(live.organization_id)
    work = partial(make, live, call, compute)
    is_large = len(call.message.body) > LARGE
    try:
        return str(await compute.awaited(await parsers().submit(work, compute.owner).result() if is_large else work()))
    except StepError as error:
        if error.retryable:
            raise Busy(503, "compute_busy", error.message) from None
        raise Refused(422, "conditions_not_computed", error.message) from None


def make(live: LiveTrigger, call: Call, compute: Compute) -> JSON | Future[JSON]:
    """Make the execution from the request, of a large one in a thread.

    Return "" or why the conditions are not met, or the future of it. Raise StepError when that cannot be computed.
    """
    assert live.definition is not None
    trigger = live.definition.trigger
    payload = call.request.payload(trigger.config)
    call.execution = new_execution(live, payload, call.request.delivery(payload, trigger.config))
    if not trigger.conditions.members:
        return ""
    return compute.judging(trigger.conditions, {"trigger": payload})


def check_secret(live: LiveTrigger, given: bytes) -> None:
    if live.secret is None:
        message = "The secret of this trigger cannot be read. Its owner must make a new one."
        raise Refused(503, "unreadable_secret", message)
    if live.secret and not hmac.compare_digest(given, live.secret):
        which = "wrong" if given else "missing"
        message = f"The secret is {which}. Send it as header or query parameter ah-http-key."
        raise Refused(401, "secret_invalid" if given else "secret_missing", message)


def check_active(live: LiveTrigger) -> None:
    if not live.is_active or live.definition is None:
        message = "The automation of this trigger is not active."
        raise Refused(409, "not_activated", message, extra={"result": message, "trigger_id": live.trigger_uid})


async def start(live: LiveTrigger, call: Call) -> Answer | None:
    """Store the execution; with a Response step wait for the reply, as one of the organization's callers."""
    assert live.definition is not None
    if not live.definition.replies:
        return await stored(live, call)
    if not callers().take(live.organization_id):
        raise Busy(503, "too_many_callers", "Too many callers of the organization wait for a reply already.")
    try:
        return await stored(live, call)
    finally:
        callers().give_back(live.organization_id)


async def stored(live: LiveTrigger, call: Call) -> Answer | None:
    """Answer when the execution is stored, and as its Response step says; raise Stale when it must be checked again."""
    assert call.execution is not None
    ticket, delivery = accept(call.execution), call.execution.delivery
    try:
        execution_id = await ticket.stored()
    except acceptance.LimitReached:
        raise Refused(429, "hard_limit", acceptance.LIMIT_REACHED) from None
    except InDoubt:
        raise in_doubt(live, str(call.execution.id)) from None
    except acceptance.Duplicate as duplicate:
        return await repeated(live, call, delivery, duplicate)
    call.forget_body()
    call.stored = accepted_answer(live, str(execution_id))
    if ticket.reply is None:
        return call.stored
    return await reply_to(live, call, ticket.reply)


async def repeated(
    live: LiveTrigger, call: Call, delivery: DeliveryId | None, duplicate: acceptance.Duplicate
) -> Answer | None:
    """Answer a repeated delivery with what has become of the first one, and retry that if it has failed.

    Raise Refused for other content under the same key.
    """
    if delivery and delivery.must_match and not duplicate.is_same:
        raise Refused(422, "idempotency_key_reused", acceptance.KEY_REUSED)
    call.forget_body()
    assert live.definition is not None
    if not live.definition.replies:
        status = await present_status(live, duplicate)
        word = "removed" if status is None else status.code
        given: Answer | None = accepted_answer(live, str(duplicate.execution_id), word)
    else:
        wait = await reply_of(duplicate.execution_id, live.organization_id)
        try:
            given = await reply_to(live, call, wait)
        except Refused as refused:
            refused.headers.append(REPLAYED)
            raise
    if given:
        given.headers.append(REPLAYED)
    return given


async def reply_to(live: LiveTrigger, call: Call, wait: Wait) -> Answer | None:
    """Wait for a Response step's reply, as long as the caller does: return None when it has hung up."""
    watch = asyncio.get_running_loop().create_task(hang_up(call.receive, partial(wait.end, End.GONE)))
    try:
        reply = await wait.reply(settings.REPLY_LIMIT_S)
    finally:
        watch.cancel()
    return None if reply is End.GONE else reply_answer(live, str(wait.execution_id), reply)


async def leave_refusal(live: LiveTrigger, refused: Refused) -> None:
    """Leave the receipt of a refusal, which in a flood is only counted (see `acceptance.leave_receipt`)."""
    with suppress(Unavailable):  # the refusal is true whether or not it can be stored
        await acceptance.leave_receipt(live, Outcome.REFUSED, refused.status, refused.code, refused.message)

"""The id by which a sender's repeated delivery is known: the trigger's own, or one that known senders give.

docs/trigger-urls.md lists them. An id is of use only if a repetition has it again and no other delivery has it: a
GitLab event's UUID, for instance, is shared by the events of one chain.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from connectors.http import DELIVERY_PATH
from connectors.sdk import mapping
from connectors.sdk.call import JSON
from executions import sealed_json
from executions.intake.body import Refused
from executions.intake.message import text_of
from executions.store.rows import DeliveryId

IDEMPOTENCY_KEY = "idempotency-key"  # GitLab's, too
HEADERS = (
    IDEMPOTENCY_KEY, "webhook-id", "svix-id", "x-github-delivery", "x-shopify-webhook-id", "x-amz-sns-message-id",
)  # fmt: skip
NAMES = tuple((name, name.encode()) for name in HEADERS)
KEY = re.compile(r"[!-+\--~]{1,255}")  # visible ASCII without the comma that joins two headers of one name


def delivery_of(
    headers: Mapping[bytes, bytes], payload: dict[str, JSON], config: Mapping[str, Any]
) -> DeliveryId | None:
    """Return the sender's own id of a delivery; None when it gives none. Raise Refused for a header that cannot be one.

    `config` is the trigger's: it may name a header or a path of its own, which goes before all others.
    """
    found = _own(str(config.get("delivery_id") or ""), headers, payload) or _known(headers, payload["body"])
    if found is None:
        return None
    content = sealed_json.dumps({name: payload[name] for name in ("method", "query", "body")})
    return DeliveryId(
        key=found,
        fingerprint=hashlib.sha256(content.encode()).hexdigest(),
        must_match=found.startswith(f"{IDEMPOTENCY_KEY}:"),
        starts_again=bool(config.get("starts_again")),
    )


def _own(where: str, headers: Mapping[bytes, bytes], payload: dict[str, JSON]) -> str | None:
    """Return the key of the id that the trigger's own header or path gives; None where it gives none."""
    if not where:
        return None
    if not where.startswith(DELIVERY_PATH):
        return _of_header(where.lower(), headers)
    try:
        value = mapping.resolve(where, {"trigger": payload})
    except mapping.MappingError:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        return None
    text = str(value)
    return f"body:{text if KEY.fullmatch(text) else hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _known(headers: Mapping[bytes, bytes], body: JSON) -> str | None:
    for name, key in NAMES:
        if key in headers:
            return _of_header(name, headers)
    if not isinstance(body, dict):
        return None
    if b"stripe-signature" in headers and body.get("object") == "event":
        return _of_body("stripe", body.get("id"))
    if b"x-slack-signature" in headers and body.get("type") == "event_callback":
        return _of_body("slack", body.get("event_id"))
    return None


def _of_header(name: str, headers: Mapping[bytes, bytes]) -> str | None:
    given = headers.get(name.encode())
    if given is None:
        return None
    text = text_of(given)
    if not KEY.fullmatch(text):
        problem = f"The header {name} must come once, with 1 to 255 visible ASCII characters and no comma."
        raise Refused(400, "invalid_idempotency_key", problem)
    return f"{name}:{text}"


def _of_body(sender: str, value: JSON) -> str | None:
    return f"{sender}:{value}" if isinstance(value, str) and KEY.fullmatch(value) else None

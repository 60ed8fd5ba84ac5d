"""Read one request at a trigger URL into the trigger's output, or refuse it with the name of the field and the rule.

Nothing is guessed and nothing is repaired: a request that cannot be stored exactly is refused. docs/trigger-urls.md
lists every answer.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from connectors.sdk.call import JSON
from executions import sealed_json
from executions.intake import body
from executions.intake.body import Refused
from executions.store.rows import DeliveryId

METHODS = ("GET", "POST")
SECRET_NAME = "ah-http-key"
SECRET_KEY = "HTTP_AH_HTTP_KEY"
HEADERS_LIMIT = 16 * 1024  # characters of names and values together
# Headers by which conditions tell one event from another, at the senders that builders use most.
STANDARD_HEADERS = (
    "content-type", "user-agent", "x-github-event", "x-github-delivery", "x-gitlab-event", "x-shopify-topic",
    "x-event-key", "webhook-id",
)  # fmt: skip
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", SECRET_NAME})
# The server puts its own environment beside the request's headers: HTTP_PROXY there is the operator's, not a header.
OPERATORS_KEYS = frozenset(key for key in os.environ if key.startswith("HTTP_"))


def environ_key(header: str) -> str:
    """Return a header's key in a WSGI environ."""
    key = header.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


IDEMPOTENCY_KEY = "idempotency-key"
DELIVERY_HEADERS = (IDEMPOTENCY_KEY, "webhook-id", "x-github-delivery")  # a sender's own id of a delivery
DELIVERY_KEY = re.compile(r"[!-+\--~]{1,255}")  # visible ASCII without the comma that joins two headers of one name

STANDARD_KEYS = tuple((name, environ_key(name)) for name in STANDARD_HEADERS)


class Request:
    """One request at a trigger URL. Each part is read when it is asked for: head, query, and last the body."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self.environ = environ
        self.method: str = environ["REQUEST_METHOD"]
        self._raw: bytes | None = None
        self._query: dict[str, JSON] | None = None

    def check_head(self) -> None:
        """Raise Refused for a request that no trigger accepts, before any look-up."""
        if not _is_allowed(self.environ.get("HTTP_HOST", ""), tuple(settings.ALLOWED_HOSTS)):
            raise Refused(400, "invalid_host", "The Host header does not name this server.")
        self.check_method(METHODS)
        size = sum(len(key) + len(value) for key, value in self.environ.items() if key.startswith("HTTP_"))
        if size > HEADERS_LIMIT:
            raise Refused(431, "headers_too_large", f"The headers are larger than {HEADERS_LIMIT} bytes.")

    def check_method(self, allowed: Iterable[str]) -> None:
        """Raise Refused unless the method is allowed; if `allowed` has no known name, all METHODS are allowed."""
        names = [name for name in METHODS if name in allowed] or list(METHODS)
        if self.method not in names:
            raise Refused(
                405, "method_not_allowed", f"Use {' or '.join(names)}.", headers=[("Allow", ", ".join(names))]
            )

    @property
    def secret(self) -> str:
        """Return the secret of the header, else of the query, else ""; it is never stored."""
        if header := self.environ.get(SECRET_KEY, ""):
            return str(header)
        value = self._all_query().get(SECRET_NAME, "")
        return str(value[0] if isinstance(value, list) else value)

    def payload(self, config: dict[str, Any]) -> dict[str, JSON]:
        """Return the trigger's output: method, query, headers (`config` may name more) and body; raise Refused."""
        return {
            "method": self.method,
            "query": {name: value for name, value in self._all_query().items() if name != SECRET_NAME},
            "headers": self._headers(config.get("headers") or ()),
            "body": self._body() if self.method == "POST" else None,
        }

    def delivery(self, payload: dict[str, JSON]) -> DeliveryId | None:
        """Return the sender's own id of this delivery, which makes a repetition known; raise Refused for a bad one."""
        for name in DELIVERY_HEADERS:
            key = self.environ.get(environ_key(name))
            if key is not None:
                if not DELIVERY_KEY.fullmatch(key):
                    text = f"The header {name} must come once, with 1 to 255 visible ASCII characters and no comma."
                    raise Refused(400, "invalid_idempotency_key", text)
                return _delivery(f"{name}:{key}", payload, must_match=name == IDEMPOTENCY_KEY)
        event = payload["body"]
        if "HTTP_STRIPE_SIGNATURE" in self.environ and isinstance(event, dict) and event.get("object") == "event":
            event_id = event.get("id")
            if isinstance(event_id, str) and DELIVERY_KEY.fullmatch(event_id):
                return _delivery(f"stripe:{event_id}", payload, must_match=False)
        return None

    def _all_query(self) -> dict[str, JSON]:
        if self._query is None:
            self._query = body.fields(self.environ.get("QUERY_STRING", "").encode("latin-1"), "query")
        return self._query

    def _headers(self, chosen: Iterable[Any]) -> dict[str, JSON]:
        named = [(name, environ_key(name)) for name in (str(item).strip().lower() for item in chosen)]
        return {
            name: self.environ[key]
            for name, key in (*STANDARD_KEYS, *named)
            if key in self.environ and key not in OPERATORS_KEYS and name.replace("_", "-") not in SECRET_HEADERS
        }

    def _body(self) -> JSON:
        if self._raw is None:
            self._raw = _read(self.environ)
        return body.parse(self._raw, self.environ.get("CONTENT_TYPE") or "")


def _delivery(key: str, payload: dict[str, JSON], *, must_match: bool) -> DeliveryId:
    content = sealed_json.dumps({name: payload[name] for name in ("method", "query", "body")})
    return DeliveryId(key=key, fingerprint=hashlib.sha256(content.encode()).hexdigest(), must_match=must_match)


def _read(environ: dict[str, Any]) -> bytes:
    """Return the whole body; raise Refused for one that ends early or whose end cannot be checked."""
    if environ.get("HTTP_TRANSFER_ENCODING"):
        # The server ends a broken chunked body as if it were complete: only a stated length can be checked.
        raise Refused(411, "length_required", "Send the body with a Content-Length, not in chunks.")
    if environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() not in ("", "identity"):
        raise Refused(415, "unsupported_content_encoding", "Send the body without Content-Encoding.")
    length = _length(environ.get("CONTENT_LENGTH") or "0")
    raw = bytearray()
    while len(raw) < length:
        chunk = environ["wsgi.input"].read(length - len(raw))
        if not chunk:
            raise Refused(400, "incomplete_body", f"The body ended after {len(raw)} of {length} bytes.")
        raw += chunk
    return bytes(raw)


def _length(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise Refused(400, "invalid_length", "Content-Length is not a number.")
    if len(text) > 18 or int(text) > settings.BODY_LIMIT:
        raise Refused(413, "body_too_large", f"The body is larger than {settings.BODY_LIMIT} bytes.")
    return int(text)


@lru_cache(maxsize=256)
def _is_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    domain, _port = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)

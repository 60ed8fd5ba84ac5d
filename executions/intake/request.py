"""Read one request at a trigger URL into the trigger's output, or refuse it with the name of the field and the rule.

Nothing is guessed and nothing is repaired: a request that cannot be stored exactly is refused. docs/trigger-urls.md
lists every answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from connectors.sdk.call import JSON
from executions.intake import body
from executions.intake.body import Refused
from executions.intake.delivery_id import delivery_of
from executions.intake.message import Message, text_of
from executions.store.rows import DeliveryId

METHODS = ("GET", "POST")
SECRET_NAME = "ah-http-key"
SECRET_HEADER = SECRET_NAME.encode()
HEADERS_LIMIT = 16 * 1024  # bytes of names and values together
# Headers by which conditions tell one event from another, at the senders that builders use most.
STANDARD_HEADERS = (
    "content-type", "user-agent", "x-github-event", "x-github-delivery", "x-gitlab-event", "x-shopify-topic",
    "x-event-key", "webhook-id",
)  # fmt: skip
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", SECRET_NAME})

STANDARD_NAMES = tuple((name, name.encode()) for name in STANDARD_HEADERS)


class Request:
    """One request at a trigger URL. Each part is read when it is asked for; the body must have come before."""

    __slots__ = ("_query", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self._query: dict[str, JSON] | None = None

    def check_head(self) -> None:
        """Raise Refused for a request that no trigger accepts, before any look-up."""
        if not _is_allowed(self.message.header(b"host"), tuple(settings.ALLOWED_HOSTS)):
            raise Refused(400, "invalid_host", "The Host header does not name this server.")
        self.check_method(METHODS)
        if sum(len(name) + len(value) for name, value in self.message.headers.items()) > HEADERS_LIMIT:
            raise Refused(431, "headers_too_large", f"The headers are larger than {HEADERS_LIMIT} bytes.")

    def check_method(self, allowed: Iterable[str]) -> None:
        """Raise Refused unless the method is allowed; if `allowed` has no known name, all METHODS are allowed."""
        names = [name for name in METHODS if name in allowed] or list(METHODS)
        if self.message.method not in names:
            raise Refused(
                405, "method_not_allowed", f"Use {' or '.join(names)}.", headers=[("Allow", ", ".join(names))]
            )

    @property
    def secret(self) -> bytes:
        """Return the secret of the header, else of the query, else b""; it is never stored."""
        if header := self.message.headers.get(SECRET_HEADER):
            return header
        value = self._all_query().get(SECRET_NAME, "")
        return str(value[0] if isinstance(value, list) else value).encode("utf-8", "surrogatepass")

    def payload(self, config: dict[str, Any]) -> dict[str, JSON]:
        """Return the trigger's output: method, query, headers (`config` may name more) and body; raise Refused."""
        message = self.message
        return {
            "method": message.method,
            "query": {name: value for name, value in self._all_query().items() if name != SECRET_NAME},
            "headers": self._headers(config.get("headers") or ()),
            "body": body.parse(message.body, message.header(b"content-type")) if message.method == "POST" else None,
        }

    def delivery(self, payload: dict[str, JSON], config: dict[str, Any]) -> DeliveryId | None:
        """Return the sender's own id of this delivery, which makes a repetition known; raise Refused for a bad one."""
        return delivery_of(self.message.headers, payload, config)

    def _all_query(self) -> dict[str, JSON]:
        if self._query is None:
            self._query = body.fields(self.message.query, "query")
        return self._query

    def _headers(self, chosen: Iterable[Any]) -> dict[str, JSON]:
        headers = self.message.headers
        given: dict[str, JSON] = {name: text_of(headers[key]) for name, key in STANDARD_NAMES if key in headers}
        for item in chosen:
            name = str(item).strip().lower()
            if (value := headers.get(name.encode())) is not None and name not in SECRET_HEADERS:
                given[name] = text_of(value)
        return given


@lru_cache(maxsize=256)
def _is_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    domain, _port = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)

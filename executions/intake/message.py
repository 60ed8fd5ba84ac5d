"""One HTTP request as the intake sees it, whoever filled it in: the web server, or the builder's sample form."""

from __future__ import annotations

from collections.abc import Iterable


class Message:
    """A request's line, headers and body; the names of the headers are in lower case.

    Headers of one name are joined by a comma, as HTTP says. `body` holds the bytes as they came, for whoever checks a
    signature; it is empty until it is read.
    """

    __slots__ = ("body", "headers", "method", "path", "query")

    def __init__(
        self,
        *,
        method: str,
        path: str = "",
        query: bytes = b"",
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes = b"",
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.body = body
        self.headers: dict[bytes, bytes] = {}
        for name, value in headers:
            self.headers[name] = self.headers[name] + b"," + value if name in self.headers else value

    def header(self, name: bytes) -> str:
        """Return a header as text, "" when it is missing."""
        value = self.headers.get(name)
        return text_of(value) if value else ""


def text_of(value: bytes) -> str:
    """Return a header's value as text: UTF-8 where it is that, else Latin-1, which fits all bytes."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")

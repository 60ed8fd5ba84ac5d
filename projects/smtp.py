"""Django's SMTP backend, whose e-mails take a limited time altogether.

A time-out of a socket begins anew with each byte: a server that drips would keep its client for ever.
"""

from __future__ import annotations

import smtplib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from django.core.mail.backends.smtp import EmailBackend
from django.core.mail.message import EmailMessage

AGAIN_S = 0.5  # seconds after which a connection that was made meanwhile is cut, too


class Backend(EmailBackend):
    """Sends within `total_s` seconds, or breaks the connection: the error is that of a server that has gone."""

    def __init__(self, *, total_s: float, **options: Any) -> None:
        super().__init__(**options)
        self.total_s = total_s
        self.ends_at = 0.0  # monotonic time
        self.talking: smtplib.SMTP | None = None

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        backend = self

        class Noted(super().connection_class):  # type: ignore[misc]
            def connect(self, *arguments: Any, **more: Any) -> Any:
                backend.talking = self  # from the first byte of the greeting on
                return super().connect(*arguments, **more)

            def starttls(self, **options: Any) -> Any:
                # During the handshake the socket cannot be cut, but its time-out is for the whole of it.
                self.sock.settimeout(max(0.1, backend.ends_at - time.monotonic()))
                return super().starttls(**options)

        return Noted

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        with self._limited():
            return super().send_messages(email_messages)

    @contextmanager
    def _limited(self) -> Iterator[None]:
        done = threading.Event()
        self.ends_at = time.monotonic() + self.total_s
        threading.Thread(target=self._cut_unless, args=(done,), name="smtp-limit", daemon=True).start()
        try:
            yield
        finally:
            done.set()

    def _cut_unless(self, done: threading.Event) -> None:
        wait = self.total_s
        while not done.wait(wait):
            wait = AGAIN_S
            if (opened := getattr(self.talking, "sock", None)) is not None:
                with suppress(OSError):  # it has gone by itself
                    socket.socket.shutdown(opened, socket.SHUT_RDWR)  # not TLS's, which would wait for an answer

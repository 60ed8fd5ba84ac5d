"""E-mails take a limited time, however slowly the mail server talks."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from django.core.mail import EmailMessage
from pytest_django import Settings

from harness.processes import until
from tests.support.smtp import Smtp

type Talk = Callable[[socket.socket], None]


def drip_the_greeting(client: socket.socket) -> None:
    for byte in b"220 " + b"x" * 300:
        client.sendall(bytes([byte]))
        time.sleep(0.1)


def drip_lines(client: socket.socket) -> None:
    client.sendall(b"220 ready\r\n")
    for _ in range(300):
        client.sendall(b"250-wait\r\n")
        time.sleep(0.1)


def say_nothing(client: socket.socket) -> None:
    client.settimeout(30)
    if not client.recv(1):
        raise ConnectionResetError


def drip_tls(client: socket.socket) -> None:
    """Answer STARTTLS, and then one byte of a handshake now and then."""
    client.sendall(b"220 ready\r\n")
    client.recv(999)
    client.sendall(b"250-stub\r\n250 STARTTLS\r\n")
    client.recv(999)
    client.sendall(b"220 go on\r\n")
    for byte in b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb" + b"x" * 290:
        client.sendall(bytes([byte]))
        time.sleep(0.1)


class Slow:
    """A mail server that talks for 30 s, or until its client has gone."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.was_left = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.socket.accept()
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client:
            try:
                self.talk(client)
            except OSError:
                self.was_left.set()


@pytest.fixture
def slow(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Slow]:
    talk: Talk = request.param
    server = Slow(talk)
    mailer(settings, server.socket.getsockname()[1], use_tls=talk is drip_tls)
    yield server
    server.socket.close()


def mailer(settings: Settings, port: int, *, use_tls: bool = False) -> None:
    options = {"host": "127.0.0.1", "port": port, "use_tls": use_tls, "timeout": 20, "total_s": 0.5}
    settings.MAILERS = {"default": {"BACKEND": "projects.smtp.Backend", "OPTIONS": options}}


@pytest.mark.parametrize("slow", [drip_the_greeting, drip_lines, say_nothing, drip_tls], indirect=True)
def test_a_server_that_drips_is_left_in_time(slow: Slow) -> None:
    with pytest.raises(OSError):
        EmailMessage("Subject", "Text", to=["ada@example.com"]).send()

    assert slow.was_left.wait(5)


def test_a_server_that_talks_is_not_cut_and_no_thread_stays(smtp: Smtp, settings: Settings) -> None:
    mailer(settings, smtp.port)

    for _ in range(3):
        EmailMessage("Subject", "Text", to=["ada@example.com"]).send()

    assert len(smtp.mails) == 3
    until(lambda: not [one for one in threading.enumerate() if one.name == "smtp-limit"], what="no thread stays")


def test_every_mailer_of_the_product_has_a_limit() -> None:
    source = (Path(__file__).parents[2] / "agentos_site" / "settings.py").read_text()

    assert source.count("projects.smtp.Backend") == source.count('"total_s"') == 2

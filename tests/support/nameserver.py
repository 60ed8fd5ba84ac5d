"""A name server on loopback: it knows some names, says nothing about others, and denies the rest."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
import time
from contextlib import suppress

A, AAAA = 1, 28
NO_SUCH_NAME, BROKEN = 3, 2


class NameServer:
    """`known` maps names to addresses; a question about a name that ends in one of `silent` gets no answer."""

    def __init__(self, known: dict[str, list[str]] | None = None, *, silent: tuple[str, ...] = ()) -> None:
        self.known = known or {}
        self.silent = silent
        self.broken: set[str] = set()
        self.delay: dict[str, float] = {}  # seconds by name, from the first question on: it asks its way through
        self.first_asked: dict[str, float] = {}
        self.asked: list[str] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(("127.0.0.1", 0))
        threading.Thread(target=self._serve, name="nameserver", daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.socket.getsockname()[1]}"

    def close(self) -> None:
        self.socket.close()

    def _serve(self) -> None:
        while True:
            try:
                question, client = self.socket.recvfrom(4096)
            except OSError:
                return
            if answer := self._answer(question):
                threading.Timer(self._wait(question), self._send, (answer, client)).start()

    def _wait(self, question: bytes) -> float:
        name, now = self._name(question)[0], time.monotonic()
        return max(0.0, self.first_asked.setdefault(name, now) + self.delay.get(name, 0) - now)

    def _send(self, answer: bytes, client: tuple[str, int]) -> None:
        with suppress(OSError):  # the test is over
            self.socket.sendto(answer, client)

    def _answer(self, question: bytes) -> bytes | None:
        name, end = self._name(question)
        kind = struct.unpack_from("!H", question, end)[0]
        self.asked.append(name)
        if name.endswith(self.silent) if self.silent else False:
            return None
        code = BROKEN if name in self.broken else 0 if name in self.known else NO_SUCH_NAME
        addresses = [ipaddress.ip_address(text) for text in self.known.get(name, [])] if not code else []
        records = [one.packed for one in addresses if one.version == (4 if kind == A else 6) and kind in (A, AAAA)]
        head = question[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0)
        data = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(one)) + one for one in records)
        return head + question[12 : end + 4] + data

    def _name(self, question: bytes) -> tuple[str, int]:
        """Return the name that is asked for, and where it ends."""
        labels, at = [], 12
        while length := question[at]:
            labels.append(question[at + 1 : at + 1 + length].decode())
            at += length + 1
        return ".".join(labels).lower(), at + 1

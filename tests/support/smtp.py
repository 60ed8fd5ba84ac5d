"""A mail server on loopback that remembers every message, refuses as told and keeps senders waiting as told."""

from __future__ import annotations

import email
import email.policy
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from typing import cast

from harness.processes import until


@dataclass(frozen=True, slots=True)
class Mail:
    sender: str
    recipients: list[str]
    raw: bytes

    @property
    def message(self) -> EmailMessage:
        return email.message_from_bytes(self.raw, policy=email.policy.default)


class Smtp:
    """`smtp.mails` is what came; `smtp.refuse("RCPT", "550 no such user")` refuses a command."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.refusals: dict[str, tuple[int, str]] = {}
        self.delay = 0.0  # before each e-mail is taken
        self.held = 0  # sessions that wait to be greeted
        self.dripping: set[str] = set()  # recipients about whom the server talks without end
        self.drips = 0  # sessions in which it has begun to
        self.left = 0  # sessions whose client did not wait for the end
        self.is_open = threading.Event()
        self.is_open.set()
        self.server = _Server(("127.0.0.1", 0), _Session)
        self.server.smtp = self
        threading.Thread(target=self.server.serve_forever, name="smtp", daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def clear(self) -> None:
        self.mails.clear()
        self.refusals.clear()
        self.dripping.clear()
        self.drips = self.left = 0
        self.delay = 0.0

    def refuse(self, command: str, reply: str, *, after: int = 0) -> None:
        """Refuse a command once so many e-mails have been taken."""
        self.refusals[command.upper()] = after, reply

    def refusal_of(self, command: str) -> str | None:
        after, reply = self.refusals.get(command, (0, None))
        return reply if len(self.mails) >= after else None

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Greet nobody meanwhile."""
        self.is_open.clear()
        try:
            yield
        finally:
            self.is_open.set()
            self.held = 0

    def wait_for(self, count: int, *, within: float = 15) -> list[Mail]:
        until(lambda: len(self.mails) >= count, within=within, what=f"{count} mails")
        return list(self.mails)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    smtp: Smtp


class _Session(socketserver.StreamRequestHandler):
    sender = ""
    recipients: list[str]

    def handle(self) -> None:
        self.recipients = []
        self.wait_until_open()
        self.say("220 stub ready")
        while line := self.rfile.readline(8192):
            command, _, rest = line.decode(errors="replace").strip().partition(" ")
            if not self.obey(command.upper(), rest):
                return

    def wait_until_open(self) -> None:
        smtp = cast(_Server, self.server).smtp
        if not smtp.is_open.is_set():
            smtp.held += 1
            smtp.is_open.wait(60)

    def obey(self, command: str, rest: str) -> bool:
        """Answer one command; return False when the session is over."""
        smtp = cast(_Server, self.server).smtp
        if reply := smtp.refusal_of(command):
            self.say(reply)
        elif command == "EHLO":
            self.say("250-stub\r\n250-8BITMIME\r\n250 SMTPUTF8")
        elif command == "MAIL":
            self.sender, self.recipients = address(rest), []
            self.say("250 ok")
        elif command == "RCPT" and address(rest) in smtp.dripping:
            self.drip(smtp)
            return False
        elif command == "RCPT":
            self.recipients.append(address(rest))
            self.say("250 ok")
        elif command == "DATA":
            self.say("354 go on")
            time.sleep(smtp.delay)
            smtp.mails.append(Mail(self.sender, self.recipients, self.read_message()))
            self.say("250 taken")
        elif command == "QUIT":
            self.say("221 bye")
            return False
        else:
            self.say("250 ok")
        return True

    def drip(self, smtp: Smtp) -> None:
        """Say a line now and then, as long as anybody listens, for two minutes at most."""
        smtp.drips += 1
        try:
            for _ in range(400):
                self.say("250-wait")
                time.sleep(0.3)
        except OSError:
            smtp.left += 1

    def read_message(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def say(self, reply: str) -> None:
        self.wfile.write(reply.encode() + b"\r\n")


def address(parameter: str) -> str:
    """Return the address of `FROM:<a@b> SIZE=1`."""
    return parameter.partition("<")[2].partition(">")[0]

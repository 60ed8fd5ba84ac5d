"""Trigger URLs through a raw socket: what the real web server makes of bytes that no client library sends."""

from __future__ import annotations

import json
import socket
from typing import Any, NamedTuple

import pytest

from harness.automations import make
from harness.installation import Installation
from harness.processes import ROOT

MB = 1024 * 1024
EXAMPLES = ROOT / "tests" / ".cache" / "webhooks-examples"
pytestmark = pytest.mark.usefixtures("product")

WAIT = {"key": "wait", "connector": "wait", "action": "wait", "input": {}}


class Reply(NamedTuple):
    status: int  # 0: closed without an answer
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"]) if self.body else ""


class Door:
    """A trigger URL without a secret, on a real web server."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.path = f"/automations-api/run/{make(installation, {'Wire': [WAIT]}).triggers['Wire']}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.installation.port), timeout=10)

    def request(self, *headers: str, line: str = "", host: str | None = "127.0.0.1") -> bytes:
        lines = [line or f"POST {self.path} HTTP/1.1", "Connection: close", "Content-Type: application/json", *headers]
        return "\r\n".join([*lines, *([f"Host: {host}"] if host is not None else []), "", ""]).encode("latin-1")

    def send(self, raw: bytes) -> Reply:
        with self.connect() as connection:
            try:
                connection.sendall(raw)
            except ConnectionError:
                pass  # answered and closed before all was sent
            return read(connection)

    def rows(self) -> int:
        sql = "SELECT count(*) AS n FROM executions_execution WHERE trigger_id = %s"
        return int(self.installation.query(sql, [self.path.rpartition("/")[2]])[0]["n"])

    def stored(self, reply: Reply) -> Any:
        """Return the trigger's output of the execution that a request started."""
        assert reply.status == 202, reply
        code = (
            "from executions.models import StepRun; import json; "
            f"run = StepRun.objects.get(execution_id={json.loads(reply.body)['execution_id']!r}, key='trigger'); "
            "print(run.shown('input'))"
        )
        return json.loads(self.installation.python(code))


def read(connection: socket.socket) -> Reply:
    """Return the final answer on a connection that the server closes after it."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionError:
        pass
    while received.startswith(b"HTTP/1.1 1"):
        received = received.partition(b"\r\n\r\n")[2]
    head, _, body = received.partition(b"\r\n\r\n")
    return Reply(int(head.split()[1]), body) if head else Reply(0, b"")


@pytest.fixture(scope="module")
def door(shared_product: Installation) -> Door:
    return Door(shared_product)


def refused(door: Door) -> dict[str, tuple[bytes, set[int], str]]:
    large = door.request(f"Content-Length: {3 * MB + 1}") + b" " * (3 * MB + 1)
    length, chunked, chunks = "Content-Length: 2", "Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"
    endless = door.request(chunked) + (b"100000\r\n" + b" " * MB + b"\r\n") * 4
    path = door.path
    return {
        "W1 chunks, the second broken": (door.request(chunked) + b"1\r\n7\r\nzz\r\n", {0, 400}, "incomplete_body"),
        "W1 chunks, one too long": (door.request(chunked) + b"1\r\n{}\r\n0\r\n\r\n", {0, 400}, "incomplete_body"),
        "W1 chunks, a size of 17 digits": (door.request(chunked) + b"f" * 17 + b"\r\n{}", {0, 400}, "incomplete_body"),
        "W1 chunks without end": (endless, {413}, "body_too_large"),
        "W2 gzip in chunks": (
            door.request("Transfer-Encoding: gzip, chunked") + chunks, {415}, "unsupported_content_encoding",
        ),
        "W2 chunked is not last": (door.request("Transfer-Encoding: chunked, gzip") + chunks, {400}, ""),
        "W2 chunked in HTTP/1.0": (
            door.request(chunked, line=f"POST {door.path} HTTP/1.0") + chunks, {400}, "",
        ),
        "W3 two lengths": (door.request(length, "Content-Length: 3") + b"{} ", {400}, ""),
        "W4 length -1": (door.request("Content-Length: -1") + b"{}", {400}, ""),
        "W4 length +2": (door.request("Content-Length: +2") + b"{}", {400}, ""),
        "W4 length in a list": (door.request("Content-Length: 2, 3") + b"{}", {400}, ""),
        "W4 length of 18 digits": (door.request("Content-Length: " + "9" * 18) + b"{}", {413}, "body_too_large"),
        "W4 length of 30 digits": (door.request("Content-Length: " + "9" * 30) + b"{}", {400}, ""),
        "W4 length abc": (door.request("Content-Length: abc") + b"{}", {400}, ""),
        "no length": (door.request(), {400}, "invalid_json"),
        "W7 one byte over": (large, {413}, "body_too_large"),
        "W9 header of 20 kB": (door.request(length, "X-A: " + "a" * 20_000) + b"{}", {431}, "headers_too_large"),
        "W9 200 headers": (door.request(length, *[f"X-{n}: a" for n in range(200)]) + b"{}", {431}, ""),
        "W10 URL of 10,000": (door.request(line=f"POST {path}{'x' * 10_000} HTTP/1.1"), {404}, "not_found"),
        "W10 URL of 100,000": (door.request(length, line=f"POST {path}{'x' * 100_000} HTTP/1.1") + b"{}", {414}, ""),
        "W11 NUL in the path": (door.request(length, line=f"POST {path}%00 HTTP/1.1") + b"{}", {404}, "not_found"),
        "W12 bad UTF-8 in path": (door.request(length, line=f"POST {path}%ff HTTP/1.1") + b"{}", {404}, "not_found"),
        "W13 BREW": (door.request(line=f"BREW {path} HTTP/1.1"), {405}, "method_not_allowed"),
        "W13 TRACE": (door.request(line=f"TRACE {path} HTTP/1.1"), {405}, "method_not_allowed"),
        "W13 CONNECT": (door.request(line=f"CONNECT {path} HTTP/1.1"), {405}, "method_not_allowed"),
        "W15 HEAD": (door.request(line=f"HEAD {path} HTTP/1.1"), {405}, ""),
        "W15 OPTIONS": (door.request(line=f"OPTIONS {path} HTTP/1.1"), {405}, "method_not_allowed"),
        "W16 no Host": (door.request(length, host=None) + b"{}", {400}, "invalid_host"),
        "W16 unknown Host": (door.request(length, host="evil.example") + b"{}", {400}, "invalid_host"),
        "W16 two Hosts": (door.request(length, "Host: evil.example") + b"{}", {400}, "invalid_host"),
        "W17 HTTP/0.9": (f"GET {path}\r\n\r\n".encode(), {400}, ""),
        "W17 TLS": (bytes.fromhex("16030100a5010000a10303") + b"\0" * 50, {0, 400}, ""),
        "W17 garbage": (b"\x00\x01garbage\r\n\r\n", {0, 400}, ""),
        "W19 gzip": (door.request(length, "Content-Encoding: gzip") + b"{}", {415}, "unsupported_content_encoding"),
        "W22 bare CR in a header": (door.request(length, "X-A: 1\r2") + b"{}", {400}, ""),
        "W23 slash at the end": (door.request(length, line=f"POST {path}/ HTTP/1.1") + b"{}", {404}, "not_found"),
        "W23 path parameter": (door.request(length, line=f"POST {path};a=b HTTP/1.1") + b"{}", {404}, "not_found"),
        "W23 two dots": (door.request(length, line=f"POST {path}/../x HTTP/1.1") + b"{}", {404}, "not_found"),
    }  # fmt: skip


def test_bytes_are_refused_and_nothing_is_stored(door: Door) -> None:
    before = door.rows()

    answers = {name: (door.send(raw), statuses, code) for name, (raw, statuses, code) in refused(door).items()}

    wrong = {
        name: answer
        for name, (answer, statuses, code) in answers.items()
        if answer.status not in statuses or answer.code != code
    }
    assert wrong == {}
    assert door.rows() == before


def test_body_of_100_mb_is_refused_without_reading_it(door: Door) -> None:
    reply = door.send(door.request(f"Content-Length: {100 * MB}") + b" " * MB)  # and no more

    assert reply.status == 413


def test_sender_who_hangs_up_in_the_body_stores_nothing(door: Door) -> None:
    before = door.rows()

    with door.connect() as connection:
        connection.sendall(door.request("Content-Length: 50") + b"{}")
    after = door.send(door.request("Content-Length: 2") + b"{}")

    assert after.status == 202
    assert door.rows() == before + 1


@pytest.mark.parametrize("pieces", [[b'{"a": 1}'], [b'{"a"', b": 1", b"}"]], ids=["one chunk", "three chunks"])
def test_a_chunked_body_is_stored(door: Door, pieces: list[bytes]) -> None:
    with door.connect() as connection:
        connection.sendall(door.request("Transfer-Encoding: chunked"))
        for piece in pieces:
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\nX-Trailer: 1\r\n\r\n")
        reply = read(connection)

    assert door.stored(reply)["body"] == {"a": 1}


@pytest.mark.parametrize(
    "cut", [b"", b"2\r\n{", b"2\r\n{}\r\n", b"2\r\n{}\r\n0\r\n"], ids=["empty", "chunk", "end", "last"]
)
@pytest.mark.parametrize("ends", [socket.SHUT_WR, socket.SHUT_RDWR], ids=["half closed", "closed"])
def test_a_chunked_body_that_is_cut_off_stores_nothing(door: Door, cut: bytes, ends: int) -> None:
    before = door.rows()

    with door.connect() as connection:
        connection.sendall(door.request("Transfer-Encoding: chunked") + cut)
        connection.shutdown(ends)
        reply = read(connection)

    assert reply.status in (0, 400)
    assert door.send(door.request("Content-Length: 2") + b"{}").status == 202
    assert door.rows() == before + 1


@pytest.mark.parametrize(
    "both", [("Content-Length: 2", "Transfer-Encoding: chunked"), ("Transfer-Encoding: chunked", "Content-Length: 2")]
)
def test_chunks_overrule_a_length_and_nothing_behind_them_is_a_request(door: Door, both: tuple[str, str]) -> None:
    """The web server hides the length, so that every connection ends after chunks, as HTTP asks."""
    before = door.rows()
    one = door.request(*both).replace(b"Connection: close\r\n", b"") + b"2\r\n{}\r\n0\r\n\r\n"

    with door.connect() as connection:
        connection.sendall(one + one)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk

    assert received.count(b"HTTP/1.1 ") == received.count(b"HTTP/1.1 202") == 1
    assert door.rows() == before + 1


def test_expect_100_continue_works(door: Door) -> None:
    with door.connect() as connection:
        connection.sendall(door.request("Content-Length: 8", "Expect: 100-continue"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 100")
        connection.sendall(b'{"a": 1}')
        reply = read(connection)

    assert door.stored(reply)["body"] == {"a": 1}


def test_headers_of_a_stranger_do_not_become_the_peer(door: Door) -> None:
    raw = door.request("Content-Length: 2", "X_Real_Ip: 1.2.3.4", "X-Forwarded-For: 1.2.3.4") + b"{}"

    payload = door.stored(door.send(raw))

    assert "1.2.3.4" not in json.dumps(payload)


def test_300_requests_on_one_connection_are_all_stored(door: Door) -> None:
    before = door.rows()
    one = door.request("Content-Length: 2").replace(b"Connection: close\r\n", b"") + b"{}"

    with door.connect() as connection:
        received = b""
        for number in range(1, 301):
            connection.sendall(one)
            while received.count(b'"status_url"') < number:
                received += connection.recv(65536)

    assert received.count(b"HTTP/1.1 202") == 300
    assert door.rows() == before + 300


@pytest.mark.skipif(not EXAMPLES.exists(), reason="the real GitHub payloads have not been fetched")
def test_real_github_webhooks_are_stored_exactly(door: Door) -> None:
    examples = json.loads((EXAMPLES / "api.github.com" / "index.json").read_text())
    bodies = {event["name"]: event["examples"][0] for event in examples if event["examples"]}
    assert len(bodies) > 40
    for name in ("push", "issues", "pull_request"):
        raw = json.dumps(bodies[name]).encode()
        head = door.request(f"Content-Length: {len(raw)}", f"X-GitHub-Event: {name}")

        payload = door.stored(door.send(head + raw))

        assert payload["body"] == bodies[name]
        assert payload["headers"]["x-github-event"] == name

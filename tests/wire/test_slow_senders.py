"""Senders that fall silent, send a byte at a time or hang up: they cost memory only, for a bounded time."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from harness.automations import TRANSFORM, Made, make
from harness.installation import Installation, copy_of
from harness.processes import until

BODY_TIME_S = 5


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def serving(template: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Return an installation with small budgets for the tests that leave its web server as it was."""
    settings = {"BODY_TIME_S": str(BODY_TIME_S), "OPEN_BODIES": "100", "BODY_MEMORY": "1000000"}
    with copy_of(template, tmp_path_factory.mktemp("serving"), **settings) as copy:
        copy.start_web()
        yield copy


@pytest.fixture
def made(serving: Installation) -> Made:
    """Return an automation of an organization of the test's own."""
    return make(serving, {"transform": [TRANSFORM]})


def head(path: str, *lines: str) -> bytes:
    first = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    return "\r\n".join([*first, *lines, "", ""]).encode()


def path_of(made: Made) -> str:
    return f"/automations-api/run/{made.triggers['transform']}"


def silent(made: Made, path: str, stack: ExitStack, *lines: str, body: bytes = b"{") -> socket.socket:
    """Begin a request and fall silent in its body."""
    connection = socket.create_connection(("127.0.0.1", made.installation.port), timeout=30)
    stack.enter_context(connection)
    connection.sendall(head(path, *(lines or ("Content-Length: 1000",))) + body)
    return connection


def received(connection: socket.socket) -> bytes:
    """Return all that the server sends until it closes the connection."""
    said = b""
    try:
        while chunk := connection.recv(65536):
            said += chunk
    except ConnectionError:
        pass
    return said


def answers_everybody(made: Made) -> None:
    assert [made.installation.get(path)[0] for path in ("/healthz", "/login/")] == [200, 200]
    assert made.post("transform")[0] == 202
    form = urlencoded_login(made)
    assert form.startswith(b"HTTP/1.1 403")  # Django has read it: the CSRF token is missing


def urlencoded_login(made: Made) -> bytes:
    raw = b"username=ada&password=secret"
    with socket.create_connection(("127.0.0.1", made.installation.port), timeout=30) as connection:
        connection.sendall(head("/login/", "Connection: close", f"Content-Length: {len(raw)}") + raw)
        return received(connection)


@pytest.mark.parametrize("where", ["trigger", "/login/", "/v1/projects"])
def test_silent_senders_hold_up_nobody_and_are_told_that_they_are_too_slow(
    made: Made, stack: ExitStack, where: str
) -> None:
    path = path_of(made) if where == "trigger" else where
    senders = [silent(made, path, stack) for _ in range(64)]
    began = time.monotonic()

    answers_everybody(made)
    assert time.monotonic() - began < BODY_TIME_S

    said = [received(sender) for sender in senders]
    assert all(answer.startswith(b"HTTP/1.1 408") for answer in said)
    assert all((b"body_too_slow" in answer) == (where != "/login/") for answer in said)
    assert made.executions == 1


def test_a_byte_at_a_time_ends_with_the_bodys_time(made: Made, stack: ExitStack) -> None:
    sender = silent(made, path_of(made), stack, "Transfer-Encoding: chunked", body=b"")
    began, said = time.monotonic(), b""
    sender.settimeout(0.2)

    while time.monotonic() - began < BODY_TIME_S + 10 and not said:
        try:
            sender.sendall(b"1\r\n \r\n")
            said = sender.recv(65536)
        except TimeoutError:
            continue

    assert said.startswith(b"HTTP/1.1 408")
    assert BODY_TIME_S - 1 < time.monotonic() - began < BODY_TIME_S + 8


def test_more_silent_senders_than_the_share_of_an_organization_spare_the_others(made: Made, stack: ExitStack) -> None:
    other = make(made.installation, {"transform": [TRANSFORM]}, name="Other")
    assert made.post("transform")[0] == 202

    said = [received(sender) for sender in [silent(made, path_of(made), stack) for _ in range(110)]]
    refused = [answer for answer in said if answer.startswith(b"HTTP/1.1 503")]

    assert len(refused) == 10
    assert all(b"too_many_bodies" in answer and b"retry-after: 5" in answer.lower() for answer in refused)
    assert made.post("transform")[0] == 202
    for _ in range(100):
        silent(made, path_of(made), stack)
    assert other.post("transform")[0] == 202


def test_senders_who_keep_much_in_memory_use_up_their_own_share_only(made: Made, stack: ExitStack) -> None:
    other = make(made.installation, {"transform": [TRANSFORM]}, name="Other")
    assert made.post("transform")[0] == 202
    large = b"[" + b" " * 299_999

    senders = [silent(made, path_of(made), stack, "Content-Length: 300001", body=large) for _ in range(5)]
    answer = other.post("transform", {"name": "a" * 250_000})
    said = [received(sender) for sender in senders]

    assert answer[0] == 202
    assert sorted(answer.split()[1] for answer in said) == [b"408"] * 3 + [b"503"] * 2
    assert made.post("transform", {"name": "a" * 250_000})[0] == 202


def test_who_hangs_up_gives_the_share_back_at_once(made: Made) -> None:
    for _ in range(5):
        with ExitStack() as stack:
            for _ in range(100):
                silent(made, path_of(made), stack)
        until(lambda: made.post("transform")[0] == 202, within=BODY_TIME_S - 1)


def test_a_connection_that_says_nothing_is_closed(made: Made) -> None:
    with socket.create_connection(("127.0.0.1", made.installation.port), timeout=30) as connection:
        connection.sendall(b"POST / HTT")
        began = time.monotonic()

        assert received(connection) in (b"", b"HTTP/1.1 408 Request Timeout\r\n")

    assert time.monotonic() - began < 15


def test_a_connection_that_is_kept_for_nothing_is_closed(made: Made) -> None:
    with socket.create_connection(("127.0.0.1", made.installation.port), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        began = time.monotonic()

        assert received(connection).count(b"HTTP/1.1 200") == 1

    assert time.monotonic() - began < 15


def test_a_server_whose_connections_are_used_up_still_says_so_and_is_healthy(
    installation: Installation, stack: ExitStack
) -> None:
    installation.settings["CONNECTIONS"] = "200"
    installation.start_web()
    made = make(installation, {"transform": [TRANSFORM]})
    assert made.post("transform")[0] == 202

    def is_one_too_many() -> bool:
        late = silent(made, path_of(made), stack)
        late.settimeout(0.3)
        with suppress(TimeoutError):
            return b"server_full" in late.recv(65536)
        return False

    for _ in range(99):  # of 200, the last 100 are for requests that end at once
        silent(made, path_of(made), stack)
    until(is_one_too_many)

    assert made.post("transform")[1]["error"]["code"] == "server_full"
    assert installation.get("/login/")[0] == 503
    assert installation.get("/healthz")[0] == 200
    stack.close()
    until(lambda: made.post("transform")[0] == 202)


def test_a_sender_whose_body_has_not_come_when_the_server_stops_is_told_so(
    installation: Installation, stack: ExitStack
) -> None:
    installation.start_web()
    made = make(installation, {"transform": [TRANSFORM]})
    senders = [silent(made, path, stack) for path in (path_of(made), "/login/")]
    assert installation.get("/healthz")[0] == 200  # so that the others are in, too
    assert installation.web

    installation.web.end()
    trigger, page = (received(sender) for sender in senders)

    assert trigger.startswith(b"HTTP/1.1 503") and b"server_stopping" in trigger
    assert page.startswith(b"HTTP/1.1 503") and b"is stopping" in page
    assert made.executions == 0

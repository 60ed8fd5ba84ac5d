"""Callers who wait for a Response step: all get the reply, and no organization has more than its share of them."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from harness.automations import LONG_WAIT, TRANSFORM, Made, make
from harness.installation import Installation
from harness.processes import until

RESPOND = {"key": "reply", "connector": "response", "action": "send", "input": {"body": "{{ trigger.body.name }}"}}
SHORT_WAIT = {"key": "wait", "connector": "wait", "action": "for", "input": {"amount": 1}}
AUTOMATIONS = {"respond": [SHORT_WAIT, RESPOND], "never": [LONG_WAIT, RESPOND], "transform": [TRANSFORM]}
KEY = "Idempotency-Key: order-17"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])


class Caller:
    """One request on a connection of its own; its answer is read when it is asked for."""

    def __init__(self, made: Made, name: str, *headers: str, body: dict[str, Any] | None = None) -> None:
        raw = json.dumps(body or {"name": "ada"}).encode()
        lines = [
            f"POST /automations-api/run/{made.triggers[name]} HTTP/1.1", "Host: 127.0.0.1", "Connection: close",
            "Content-Type: application/json", f"Content-Length: {len(raw)}", *headers, "", "",
        ]  # fmt: skip
        self.connection = socket.create_connection(("127.0.0.1", made.installation.port), timeout=60)
        self.connection.sendall("\r\n".join(lines).encode() + raw)

    def answer(self) -> Answer:
        with self.connection:
            received = b""
            while chunk := self.connection.recv(65536):
                received += chunk
        head, _, body = received.decode().partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Answer(int(first.split()[1]), headers, body)

    def hang_up(self) -> None:
        self.connection.close()


def answers(callers: list[Caller]) -> list[Answer]:
    with ThreadPoolExecutor(len(callers)) as pool:
        return list(pool.map(Caller.answer, callers))


@pytest.fixture
def made(product: Installation) -> Made:
    return make(product, AUTOMATIONS)


def test_fifty_repetitions_at_once_all_get_the_reply_of_the_one_execution(made: Made) -> None:
    given = answers([Caller(made, "respond", KEY) for _ in range(50)])

    assert [(answer.status, answer.body) for answer in given] == [(200, "ada")] * 50
    assert sum("idempotency-replayed" not in answer.headers for answer in given) == 1
    assert made.executions == 1


def test_a_repetition_while_the_first_one_runs_leaves_the_first_caller_its_reply(made: Made) -> None:
    first = Caller(made, "respond", KEY)
    until(lambda: made.executions == 1)
    second = Caller(made, "respond", KEY)

    given = answers([first, second])

    assert [(answer.status, answer.body) for answer in given] == [(200, "ada")] * 2
    assert [answer.headers.get("idempotency-replayed") for answer in given] == [None, "true"]


def test_a_repetition_whose_reply_is_late_is_marked_as_one_too(installation: Installation) -> None:
    installation.settings["REPLY_LIMIT_S"] = "1"
    installation.start_web()
    made = make(installation, AUTOMATIONS)

    first, second = (Caller(made, "never", KEY).answer() for _ in range(2))

    assert (first.status, first.code) == (second.status, second.code) == (504, "reply_timeout")
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"


def test_an_organization_has_its_share_of_waiting_callers_and_no_more(installation: Installation) -> None:
    installation.settings["WAITING_CALLERS"] = "20"
    installation.start()
    loud, other = make(installation, AUTOMATIONS), make(installation, AUTOMATIONS, name="Other")
    waiting = [Caller(loud, "never") for _ in range(20)]
    until(lambda: loud.executions == 20)

    refused = Caller(loud, "respond").answer()

    assert (refused.status, refused.code) == (503, "too_many_callers")
    assert refused.headers["retry-after"]
    assert loud.executions == 20
    assert Caller(other, "respond").answer().status == 200
    assert loud.post("transform")[0] == 202  # who need not wait is no such caller
    for caller in waiting:
        caller.hang_up()
    until(lambda: Caller(loud, "respond").answer().body == "ada")


def test_a_thousand_waiting_callers_leave_the_door_open(made: Made, product: Installation) -> None:
    waiting = [Caller(made, "never") for _ in range(1000)]
    until(lambda: made.executions == 1000)

    began = time.monotonic()
    assert product.get("/healthz")[0] == product.get("/login/")[0] == 200
    assert made.post("transform")[0] == 202
    assert Caller(made, "respond").answer().status == 200

    assert time.monotonic() - began < 20  # REPLY_LIMIT_S is 30: nobody's wait has ended meanwhile
    for caller in waiting:
        caller.hang_up()


def test_who_waits_when_the_server_stops_is_told_so(installation: Installation) -> None:
    installation.start()
    made = make(installation, AUTOMATIONS)
    waiting = [Caller(made, "never") for _ in range(3)]
    until(lambda: made.executions == 3)
    assert installation.web

    installation.web.end()
    given = answers(waiting)

    assert {(answer.status, answer.code) for answer in given} == {(504, "reply_interrupted")}
    assert all(json.loads(answer.body)["execution_id"] for answer in given)

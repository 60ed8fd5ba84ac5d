"""Allotted time, whatever the time is spent in."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from executions.states import Status
from harness.automations import EMAIL, WAIT, Made, call, make
from harness.installation import Installation
from tests.support.stub import Stub


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Yield the port of a mail server that takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def made(product: Installation) -> Made:
    return make_hasty(product)


def make_hasty(installation: Installation) -> Made:
    """Make automations with an allotted time of one second, in an organization of the test's own."""
    made = make(installation, {"call": [call()], "email": [EMAIL], "wait": [WAIT]})
    for name in made.triggers:
        made.change(name, "time_limit_s", 1)
    return made


def engines(made: Made) -> set[str]:
    return {
        str(row["id"]) for row in made.installation.query("SELECT id FROM executions_engine WHERE NOT is_quarantine")
    }


def test_a_call_that_takes_longer_is_rejected_and_its_neighbours_are_not(made: Made, stub: Stub) -> None:
    stub.answer(path="/slow", delay=4)

    slow = made.start("call", {"url": stub.url + "/slow"})
    quick = made.start("call", {"url": stub.url + "/"})

    execution = made.wait(slow, within=8)
    assert (execution["status"], execution["reason_code"]) == (Status.REJECTED, "time_limit")
    assert made.wait(quick)["status"] == Status.SUCCESS


def test_time_in_paused_costs_none(made: Made) -> None:
    execution = made.wait(made.start("wait"))

    assert execution["status"] == Status.SUCCESS
    assert execution["ran_ms"] < 1000


def test_threads_that_hang_are_left_alone_and_cost_no_engine(installation: Installation, silent_port: int) -> None:
    installation.settings["EMAIL_URL"] = f"smtp://127.0.0.1:{silent_port}"
    installation.start()
    made = make_hasty(installation)
    before = engines(made)
    ids = [made.start("email") for _ in range(9)]

    ended = [made.wait(id, within=15) for id in ids]

    assert {(one["status"], one["reason_code"]) for one in ended} == {(Status.REJECTED, "time_limit")}
    assert made.wait(made.start("wait"))["status"] == Status.SUCCESS
    assert engines(made) == before

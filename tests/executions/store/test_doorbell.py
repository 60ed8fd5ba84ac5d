"""The doorbell rings whoever listens now, and never turns a commit into a failure."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pytest_django import Settings

from automations.models import Automation
from executions.intake import acceptance
from executions.intake.live_trigger import new_execution
from executions.models import Execution
from executions.store.dialect import WORK_CHANNEL
from executions.store.doorbell import SETTLED_NS, Doorbell, ring
from tests.support.door import live_at

KIND = "test"


@pytest.fixture(autouse=True, params=["", "d" * 90], ids=["short", "long"])
def folder(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path / request.param
    return Path(settings.DATA_DIR) / "doorbells" / KIND


@contextmanager
def listening() -> Iterator[Doorbell]:
    bell = Doorbell(KIND)
    try:
        yield bell
    finally:
        bell.close()


def settle(folder: Path) -> None:
    """Ring until the folder's list is one that is kept."""
    while time.time_ns() - folder.stat().st_mtime_ns <= SETTLED_NS:
        ring(KIND, 0)
    ring(KIND, 0)


def test_all_listeners_hear_the_number() -> None:
    with listening() as first, listening() as second:
        ring(KIND, 7)

        assert (first.wait(1), second.wait(1)) == (7, 7)


def test_who_comes_later_is_rung_too(folder: Path) -> None:
    with listening() as first:
        settle(folder)
        first.wait(1)
        with listening() as second:
            ring(KIND, 8)

            assert (first.wait(1), second.wait(1)) == (8, 8)
        ring(KIND, 9)
        assert first.wait(1) == 9


def test_who_comes_within_the_same_tick_of_the_clock_is_rung_too() -> None:
    for number in range(20):
        with listening():
            ring(KIND, 0)
            with listening() as second:
                ring(KIND, number)

                assert second.wait(1) == number


def test_the_socket_of_a_dead_listener_is_removed(folder: Path) -> None:
    dead = Doorbell(KIND)
    settle(folder)
    dead.socket.close()
    with listening() as alive:
        ring(KIND, 1)
        ring(KIND, 2)

        assert alive.wait(1) == 1
        assert [str(path) for path in folder.iterdir()] == [alive.path]


def test_a_dead_listener_keeps_no_living_one_from_hearing(folder: Path) -> None:
    dead = [Doorbell(KIND) for _ in range(3)]
    with listening() as alive:
        settle(folder)
        alive.wait(1)
        for one in dead:
            one.socket.close()
        ring(KIND, 5)

        assert alive.wait(1) == 5


def test_nobody_is_there() -> None:
    ring(KIND, 1)


def test_no_error_of_the_bell_reaches_the_caller(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_text("not a folder")
    ring(KIND, 1)

    folder.unlink()
    with listening() as bell:
        with no_files_left():
            ring(KIND, 1)
        ring(KIND, 2)
        assert bell.wait(1) in (1, 2)


@contextmanager
def no_files_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.django_db(transaction=True)
def test_a_request_is_accepted_though_the_bell_does_not_ring(folder: Path, automation: Automation) -> None:
    (folder.parent).mkdir(parents=True)
    (folder.parent / WORK_CHANNEL).write_text("not a folder")
    new = new_execution(live_at(automation), {"body": {}})

    assert acceptance.write([new]) == [new.id]
    assert Execution.objects.count() == 1

"""What survives which death of the cluster's processes: nothing is lost, nothing stays behind."""

from __future__ import annotations

import os
import pty
import re
import signal
import sys
from collections.abc import Iterator

import pytest

from executions.states import Status
from harness.automations import AUTOMATIONS, Made, make
from harness.installation import Installation, copy_of
from harness.processes import Process, alive, children, descendants, group_is_alive, until
from tests.support.smtp import Smtp
from tests.support.stub import Stub


@pytest.fixture(scope="module")
def attacked(template: Installation, tmp_path_factory: pytest.TempPathFactory, _smtp: Smtp) -> Iterator[Installation]:
    """Return an installation for the tests that kill its worker, which is replaced each time."""
    with copy_of(template, tmp_path_factory.mktemp("attacked"), EMAIL_URL=_smtp.url) as copy:
        copy.start()
        yield copy


@pytest.fixture
def running(attacked: Installation) -> Made:
    """Return the automations of an organization of the test's own."""
    return make(attacked, AUTOMATIONS)


def kill_worker(made: Made) -> None:
    """Kill the worker whose engine runs, which another one replaces."""
    sql = "SELECT pid FROM executions_engine WHERE NOT is_quarantine ORDER BY beat_at DESC"
    os.kill(made.installation.query(sql)[0]["pid"], signal.SIGKILL)


def test_a_killed_worker_loses_nothing_and_repeats_only_the_call_in_flight(running: Made, stub: Stub) -> None:
    stub.answer(path="/slow", delay=1)
    execution_id = running.start("chain", {"name": "ada", "url": stub.url + "/slow"})
    stub.wait_for(2)  # the second call is in flight

    kill_worker(running)
    execution = running.wait(execution_id)

    keys = [request.headers["idempotency-key"].split("-")[-2] for request in stub.wait_for(3)]
    assert (execution["status"], execution["claim"], execution["attempt"]) == (Status.SUCCESS, 2, 1)
    assert running.steps(execution_id) == [("shape", "Success"), ("first", "Success"), ("second", "Success")]
    assert keys == ["first", "second", "second"]


def test_a_never_repeat_step_is_not_repeated_when_its_worker_dies(running: Made, stub: Stub) -> None:
    stub.answer(path="/slow", delay=2)
    execution_id = running.start("once", {"url": stub.url + "/slow"})
    stub.wait_for(1)

    kill_worker(running)
    execution = running.wait(execution_id)

    assert (execution["status"], execution["reason_code"]) == (Status.FAILED, "interrupted")
    assert len(stub.requests) == 1


def test_an_idle_worker_may_die_and_the_next_one_goes_on(running: Made) -> None:
    for _ in range(2):
        kill_worker(running)

        assert running.wait(running.start("transform"))["status"] == Status.SUCCESS


SAYS = {"worker": "ready for work", "pusher": "pushing tasks", "monitor": "monitoring"}
LOOK = """
from django_q.tasks import async_task
async_task("executions.tasks.notify_of_limits")
"""


@pytest.mark.parametrize("victim", SAYS)
def test_a_process_that_was_killed_is_replaced_and_all_goes_on(running: Made, victim: str) -> None:
    installation = running.installation
    cluster = installation.cluster
    assert cluster is not None
    pids = re.findall(rf"{SAYS[victim]} at (\d+)", cluster.output)

    os.kill(int(pids[-1]), signal.SIGKILL)
    until(lambda: cluster.output.count(f"{SAYS[victim]} at") > len(pids), what="another one is there")

    assert running.wait(running.start("transform"))["status"] == Status.SUCCESS
    installation.python(LOOK)  # which all three have a hand in
    until(lambda: not installation.query("SELECT 1 FROM django_q_ormq"), what="housekeeping goes on")


@pytest.mark.parametrize("victim", ["main", "sentinel"])
def test_nothing_of_the_cluster_is_left_when_a_leading_process_is_killed(cluster: Installation, victim: str) -> None:
    assert cluster.cluster is not None
    check_that_nothing_is_left(cluster.cluster.pid, victim)


@pytest.mark.parametrize("victim", ["main", "sentinel"])
def test_nothing_is_left_of_a_cluster_in_a_terminal_that_shares_its_group(
    installation: Installation, victim: str
) -> None:
    if installation.backend == "postgresql":
        pytest.skip("nothing of it is about the database")
    ours, terminal = pty.openpty()
    shell = Process(
        ["sh", "-c", f"{sys.executable} manage.py qcluster; exit"],
        environment=installation.environment,
        log=installation.directory / "terminal.log",
        stdin=terminal,
    )
    try:
        until(lambda: installation.query("SELECT 1 FROM executions_engine"), within=30, what="an engine runs")
        check_that_nothing_is_left(children(shell.pid)[0], victim)
    finally:
        shell.kill()
        os.close(ours)
        os.close(terminal)


def check_that_nothing_is_left(main: int, victim: str) -> None:
    pids = {main} | descendants(main)

    os.kill(main if victim == "main" else children(main)[0], signal.SIGKILL)

    try:
        until(lambda: not alive(pids), within=5, what="all have ended")
    finally:
        for pid in alive(pids):
            os.kill(pid, signal.SIGKILL)


def test_a_sigterm_to_all_processes_at_once_ends_the_cluster(cluster: Installation) -> None:
    main = cluster.cluster
    assert main is not None

    os.killpg(main.pid, signal.SIGTERM)  # the main process meets its own signal and its child's death in one moment

    assert main.popen.wait(5) != 0
    until(lambda: not group_is_alive(main.pid), within=5, what="the group has ended")


def stop_without_answer(main: Process) -> None:
    """Ask a cluster to stop whose sentinel stands still, and return when its main process waits for the sentinel."""
    os.kill(children(main.pid)[0], signal.SIGSTOP)
    main.signal(signal.SIGTERM)
    until(lambda: "stops" in main.output, what="the main process has begun to stop")


@pytest.mark.parametrize("is_asked", [False, True], ids=["running", "stopping"])
def test_the_main_process_fails_when_all_its_children_are_killed_at_once(cluster: Installation, is_asked: bool) -> None:
    main = cluster.cluster
    assert main is not None
    if is_asked:
        stop_without_answer(main)

    for pid in descendants(main.pid):
        os.kill(pid, signal.SIGKILL)

    assert main.popen.wait(5) != 0
    assert "the sentinel ended" in main.output
    until(lambda: not group_is_alive(main.pid), within=5, what="the group has ended")

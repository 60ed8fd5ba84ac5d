"""`make run` as a newcomer and as a script drive it: real processes, real signals."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentos_site import interpreter
from harness.processes import ROOT, alive, until
from tests.support.make_run import Running, name_of
from tests.support.stub import Stub

DRAIN_S = 20

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory that the tests of this file use one after the other, as an operator does."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def start(data_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Return a function that starts `make run` and waits for its address; whatever is left at the end is killed."""
    started: list[Running] = []

    def start(directory: Path = data_dir, *, wait: bool = True, **settings: Any) -> Running:
        started.append(Running(directory, tmp_path / f"run-{len(started)}.log", **settings))
        if wait:
            started[-1].wait_until_ready()
        return started[-1]

    yield start
    for running in started:
        running.kill()
    for running in started:
        running.check_leftovers()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a `make run` with data of its own that goes on through the tests of this file."""
    directory = tmp_path_factory.mktemp("other")
    running = Running(directory / "data", directory / "run.log")
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.kill()
        running.check_leftovers()


def test_one_sigterm_to_make_ends_everything_it_started(start: Callable[..., Running]) -> None:
    running = start()
    assert {"agentos-web", "agentos-cluster"} <= {name_of(pid) for pid in alive(running.pids)}

    running.process.terminate(within=DRAIN_S)

    assert until(lambda: not alive(running.pids), within=1), alive(running.pids)


def test_the_printed_curl_line_starts_an_execution_as_pasted(other: Running) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")

    answer = subprocess.run(other.curl, shell=True, capture_output=True, text=True, check=True, timeout=20).stdout

    execution = json.loads(answer)["execution_id"]
    ended = f"SELECT id FROM executions_execution WHERE id = '{execution.replace('-', '')}' AND finished_at IS NOT NULL"
    until(lambda: other.query(ended), what="the execution ends")


def test_a_python_without_optimizations_is_named(other: Running) -> None:
    assert (interpreter.SLOW in other.process.output) is not interpreter.is_optimized()


def test_a_second_run_keeps_the_data_and_collects_no_static_file_anew(start: Callable[..., Running]) -> None:
    first = start()
    secret = first.curl.partition("ah-http-key: ")[2].partition("'")[0]
    count = first.query("SELECT count(*) FROM executions_execution")
    stamp = first.data_dir / "static.stamp"
    collected_at = stamp.stat().st_mtime_ns
    first.process.terminate(within=DRAIN_S)

    second = start()

    assert secret
    assert secret in second.curl
    assert second.query("SELECT count(*) FROM executions_execution") == count
    assert stamp.stat().st_mtime_ns == collected_at


def test_a_second_one_waits_for_one_that_stops(start: Callable[..., Running], stub: Stub) -> None:
    first = start()
    stub.answer(200, {}, delay=3)
    post(json.loads(demo_of(first))["automations"]["call-api"], {"url": stub.url})
    stub.wait_for(1)

    first.process.signal(signal.SIGTERM)
    until(lambda: "stops" in (first.data_dir / "run.lock").read_text(), every=0.01, what="the first one stops")
    second = start()

    assert "This one waits for it" in second.process.output
    assert second.query("SELECT COUNT(*) FROM executions_execution WHERE status IN (0, 1)") == [(0,)]


def test_one_is_started_anew_at_once_after_one_that_was_killed(start: Callable[..., Running]) -> None:
    first = start()
    os.kill(min(alive(first.pids)), signal.SIGKILL)

    start(port=first.port)

    until(lambda: not alive(first.pids), within=DRAIN_S, what="nothing is left of the first one")


@pytest.mark.parametrize("name", ["web", "cluster"])
def test_everything_ends_with_an_error_when_web_or_cluster_dies(start: Callable[..., Running], name: str) -> None:
    running = start()

    os.kill(running.child(name), signal.SIGKILL)

    assert running.process.popen.wait(DRAIN_S) != 0
    assert "ended unexpectedly" in running.process.output
    assert until(lambda: not alive(running.pids), within=1), alive(running.pids)


def test_ctrl_c_ends_everything_too(start: Callable[..., Running]) -> None:
    running = start()

    os.killpg(running.process.pid, signal.SIGINT)

    running.process.popen.wait(DRAIN_S)
    assert until(lambda: not alive(running.pids), within=1), alive(running.pids)


def test_nothing_is_left_when_make_itself_is_killed(start: Callable[..., Running]) -> None:
    running = start()

    os.kill(running.process.pid, signal.SIGKILL)

    until(lambda: not alive(running.pids), within=DRAIN_S, what="supervisor, web and cluster are gone")


def test_nothing_is_left_when_the_service_itself_is_killed(start: Callable[..., Running]) -> None:
    running = start()

    os.kill(min(alive(running.pids)), signal.SIGKILL)

    until(lambda: not alive(running.pids), within=DRAIN_S, what="web and cluster are gone")


def test_an_execution_under_way_is_given_back_when_it_outlasts_the_drain(
    start: Callable[..., Running], stub: Stub
) -> None:
    running = start()
    stub.answer(200, {}, delay=60)
    automation = json.loads(demo_of(running))["automations"]["call-api"]
    post(automation, {"url": stub.url})
    stub.wait_for(1)

    running.process.terminate(within=DRAIN_S + 2)

    assert not alive(running.pids)
    assert running.query("SELECT status FROM executions_execution ORDER BY id DESC LIMIT 1") == [(0,)]


def demo_of(running: Running) -> str:
    environment = os.environ | {"DATA_DIR": str(running.data_dir), "PORT": str(running.port)}
    environment = {name: value for name, value in environment.items() if name not in ("SECRET_KEY", "FIELD_KEYS")}
    command = [sys.executable, "manage.py", "demo", "--json"]
    environment |= {"DJANGO_SETTINGS_MODULE": "agentos_site.settings", "DATABASE_URL": ""}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def post(automation: dict[str, str], body: Any) -> None:
    request = urllib.request.Request(
        automation["trigger_url"],
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "ah-http-key": automation["secret"]},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 202


def test_a_second_one_on_the_same_data_is_refused_in_words(start: Callable[..., Running], other: Running) -> None:
    second = start(other.data_dir, wait=False)

    assert second.process.popen.wait(20) != 0
    assert re.search(r"already running on .* \(process [0-9]+\)", second.process.output)
    assert "DATA_DIR" in second.process.output


def test_a_port_in_use_is_named_before_anything_is_started(start: Callable[..., Running]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = start(wait=False, PORT=str(port))

        assert running.process.popen.wait(20) != 0

    assert f"Port {port} of 127.0.0.1 cannot be used" in running.process.output


def test_two_installations_run_side_by_side(start: Callable[..., Running], other: Running) -> None:
    first = start()

    first.process.terminate(within=DRAIN_S)

    with urllib.request.urlopen(f"http://127.0.0.1:{other.port}/readyz", timeout=10) as answer:
        assert answer.status == 200
    assert first.curl != other.curl


def test_an_old_python_is_refused_in_one_line(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo "Python 3.11.2" ;; *) exit 1 ;; esac\n')
    old.chmod(0o755)
    for name in ("sh", "sed"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))

    done = subprocess.run(
        ["/bin/sh", "tools/python.sh"], cwd=ROOT, env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "needs Python 3.12 or newer" in done.stderr
    assert f"Python 3.11.2 ({old})" in done.stderr


def test_make_alone_lists_every_command_with_a_line() -> None:
    printed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    for command in ("run", "test", "test-fast", "lint", "format", "bench", "screenshots", "clean"):
        assert re.search(rf"^  make {command} +\S", printed, re.MULTILINE)

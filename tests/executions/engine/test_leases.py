"""Whose an engine's executions are while it may be dead, and when it is taken for dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.utils import timezone
from pytest_django import Settings

from executions.engine.beats import BEAT_S
from executions.engine.host import boot_id, host_name
from executions.engine.recovery import recover
from executions.models import Engine, Execution
from executions.states import Status
from executions.store import store
from executions.store.leases import STALE_AFTER_S
from executions.store.rows import ALONE
from harness.automations import TRANSFORM, call, make
from harness.installation import Installation
from harness.processes import alive, until
from projects.ids import new_id
from tests.support.stub import Stub

DEAD, OTHER, OURS = new_id(), new_id(), new_id()

# What a stale engine that lives after all, or the one that claims next, may have made of an execution meanwhile.
MEANWHILE: dict[str, dict[str, Any]] = {
    "paused": {"status": Status.PAUSED, "engine_id": None},
    "ended": {"status": Status.SUCCESS, "engine_id": None},
    "claimed by another engine": {"status": Status.RUNNING, "engine_id": OTHER},
}


@pytest.mark.django_db
@pytest.mark.parametrize("fields", MEANWHILE.values(), ids=MEANWHILE)
def test_what_a_dead_engine_holds_no_longer_is_neither_accused_nor_taken_over(
    make_execution: Callable[..., Execution], fields: dict[str, Any]
) -> None:
    execution = make_execution(**fields)
    before = Execution.objects.values().get()

    with store().transaction():
        store().accuse(execution.id, DEAD, counts=True)
        taken = store().take_over(execution.id, DEAD, OURS)

    assert taken == []
    assert Execution.objects.values().get() == before


@pytest.mark.django_db
def test_what_a_dead_engine_holds_is_accused_and_taken_over(make_execution: Callable[..., Execution]) -> None:
    execution = make_execution(status=Status.RUNNING, engine_id=DEAD)

    with store().transaction():
        store().accuse(execution.id, DEAD, counts=True)
        taken = store().take_over(execution.id, DEAD, OURS)

    assert len(taken) == 1
    execution.refresh_from_db()
    assert (execution.suspicion, execution.deaths, execution.engine_id) == (ALONE, 1, OURS)


@pytest.mark.django_db
@pytest.mark.parametrize("comes_back", [False, True])
def test_a_stale_engine_is_buried_unless_it_has_beaten_again(
    make_execution: Callable[..., Execution], comes_back: bool
) -> None:
    long_ago = timezone.now() - timedelta(seconds=STALE_AFTER_S + 1)
    peer = Engine.objects.create(host="elsewhere", boot_id="another", pid=1, beat_at=long_ago)
    execution = make_execution(status=Status.RUNNING, engine_id=peer.id)
    seen = store().peers(OURS)
    if comes_back:
        store().beat(peer.id, running=1, rss_kb=1, is_stopping=False)

    recover(OURS, seen, trusts_silence=True)

    execution.refresh_from_db()
    assert seen[0].is_stale
    assert Engine.objects.exists() is comes_back
    assert execution.status == (Status.RUNNING if comes_back else Status.PENDING)


@pytest.fixture
def pair(installation: Installation) -> Installation:
    """Return an installation whose cluster of two workers runs."""
    installation.settings["WORKERS"] = "2"
    installation.start_cluster()
    until(lambda: len(engines(installation)) == 2, what="both engines are there")
    return installation


def engines(installation: Installation, host: str = "") -> dict[Any, Any]:
    """Return the last beats of this machine's engines, or of another host's, by id."""
    where = f"host = '{host}'" if host else "host <> 'elsewhere'"
    rows = installation.query(f"SELECT id, beat_at FROM executions_engine WHERE {where}")
    return {row["id"]: row["beat_at"] for row in rows}


ELSEWHERE = 'from executions.models import Engine; Engine.objects.create(host="elsewhere", boot_id="another", pid=1)'


SILENT_FOR_A_MINUTE = (
    "from datetime import timedelta; from django.utils import timezone; from executions.models import Engine;"
    ' Engine.objects.create(host="silent", boot_id="", pid=1, beat_at=timezone.now() - timedelta(minutes=1))'
)


def test_the_lease_lasts_as_long_as_its_setting_says(installation: Installation) -> None:
    installation.shell(SILENT_FOR_A_MINUTE)

    said = {}
    for lease_s in ("3", "600"):
        installation.settings["LEASE_S"] = lease_s
        said[lease_s] = installation.manage("engines")

    assert "silent:1" in said["3"] and "silent:1" in said["600"]
    assert "STALE" in said["3"] and "STALE" not in said["600"]


def test_engines_that_come_back_with_the_database_leave_each_other_time_to_beat(pair: Installation) -> None:
    before = engines(pair)
    pair.python(ELSEWHERE)

    with pair.database.away():
        time.sleep(STALE_AFTER_S + 2)
    back_at = time.monotonic()
    last = max(before.values())
    until(lambda: all(beat > last for beat in engines(pair).values()), what="all engines have beaten again")

    assert engines(pair).keys() == before.keys()
    until(lambda: not engines(pair, "elsewhere"), within=25, what="the one that stays silent is buried")
    assert time.monotonic() - back_at > STALE_AFTER_S - 1


def test_a_worker_that_hangs_is_killed_once_a_peer_has_taken_what_it_ran(pair: Installation, stub: Stub) -> None:
    before = pids(pair)
    pair.start_web()
    made = make(pair, {"call": [call()]})
    stub.answer(path="/slow", delay=2)
    execution_id = made.start("call", {"url": stub.url + "/slow"})
    stub.wait_for(1)
    hung = before[made.read(execution_id)["engine_id"]]

    os.kill(hung, signal.SIGSTOP)

    assert made.wait(execution_id, within=40)["claim"] == 2
    until(lambda: not alive({hung}), what="the worker that hangs has ended")
    until(lambda: len(pids(pair)) == 2, what="another one has begun in its place")
    assert len(before.keys() & pids(pair).keys()) == 1


def test_locks_on_executions_cost_no_healthy_worker_its_lease(installation: Installation, stub: Stub) -> None:
    if installation.backend == "sqlite":
        pytest.skip("SQLite has one lock, that of the file")
    installation.settings["WORKERS"] = "2"
    installation.start()
    made = make(installation, {"call": [call()], "transform": [TRANSFORM]})
    stub.answer(path="/slow", delay=4)
    locked = made.start("call", {"url": stub.url + "/slow"})
    stub.wait_for(1)
    with psycopg.connect(installation.database.url) as somebody:
        somebody.execute("SELECT 1 FROM executions_execution WHERE id = %s FOR UPDATE", [locked])
        assert made.status(locked) is Status.RUNNING
        until(lambda: "somebody holds a lock" in installation.logs(), what="its result waits")
        others = [made.start("transform") for _ in range(20)]
        assert all(made.wait(one)["claim"] == 1 for one in others)
        assert made.status(locked) is Status.RUNNING
    assert made.wait(locked)["claim"] == 1
    until(lambda: len(engines(installation)) == 2, what="both engines are there")
    before = engines(installation)

    with psycopg.connect(installation.database.url) as somebody:
        somebody.execute("LOCK TABLE executions_execution")
        until(lambda: beaten_since(installation, before, STALE_AFTER_S), within=40, what="all go on beating")

    assert made.wait(made.start("transform"))["claim"] == 1
    assert engines(installation).keys() == before.keys()


def pids(installation: Installation) -> dict[Any, int]:
    """Return the processes of the engines, by id."""
    return {row["id"]: row["pid"] for row in installation.query("SELECT id, pid FROM executions_engine")}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a PID namespace")
def test_engines_in_pid_namespaces_of_their_own_leave_each_other_alone(installation: Installation) -> None:
    """So do containers that share host name and kernel: pids of one mean nothing in the other."""
    if installation.backend == "sqlite":
        pytest.skip("containers do not share a file of SQLite")
    installation.start_cluster()
    installation.prefix = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    other = installation.start_another_cluster()
    try:
        before = engines(installation)
        assert len(before) == 2

        until(lambda: beaten_since(installation, before, 3 * BEAT_S), what="both have looked at each other three times")

        assert engines(installation).keys() == before.keys()
    finally:
        other.kill()


def beaten_since(installation: Installation, before: dict[Any, Any], seconds: float) -> bool:
    """Return whether no engine of before is left, or each of them has beaten for so long."""
    now = {id: moment(beat) for id, beat in engines(installation).items() if id in before}
    return all(now[id] - moment(before[id]) >= timedelta(seconds=seconds) for id in now)


def moment(value: Any) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


MAPPED = """
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    box = mmap.mmap(file.fileno(), 0)
print("mapped", flush=True)
input()
"""


@pytest.mark.django_db
@pytest.mark.parametrize("is_ours", [True, False])
def test_the_engine_of_the_original_is_not_killed_by_its_copy(
    tmp_path: Path, settings: Settings, django_capture_on_commit_callbacks: Callable[..., Any], is_ours: bool
) -> None:
    """Both have a black box of the same name, as `cp -r` copies it; only one lies in this installation's folder."""
    settings.DATA_DIR = tmp_path / "copy"
    id, long_ago = new_id(), timezone.now() - timedelta(seconds=STALE_AFTER_S + 1)
    boxes = [tmp_path / of / "engines" / f"{id}.black-box" for of in ("copy", "original")]
    for box in boxes:
        box.parent.mkdir(parents=True)
        box.write_bytes(bytes(128))
    command = [sys.executable, "-c", MAPPED, str(boxes[0 if is_ours else 1])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as engine:
        assert engine.stdout
        engine.stdout.readline()
        Engine.objects.create(id=id, host=host_name(), boot_id=boot_id(), pid=engine.pid, beat_at=long_ago)

        with django_capture_on_commit_callbacks(execute=True):
            recover(OURS, store().peers(OURS), trusts_silence=True)
        engine.communicate(b"\n")

    assert engine.returncode == (-signal.SIGKILL if is_ours else 0)


@pytest.mark.django_db
def test_a_process_that_has_a_dead_engines_pid_by_now_is_left_alone(
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    long_ago = timezone.now() - timedelta(seconds=STALE_AFTER_S + 1)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        Engine.objects.create(host=host_name(), boot_id=boot_id(), pid=other.pid, beat_at=long_ago)

        with django_capture_on_commit_callbacks(execute=True):
            recover(OURS, store().peers(OURS), trusts_silence=True)
        other.communicate(b"\n")

    assert not Engine.objects.exists()
    assert other.returncode == 0

"""Programs that are started where they cannot run yet, and signals in the first moments of their lives."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

from chaos.moments import Moment, strike
from executions.states import Status
from harness.automations import AUTOMATIONS, make
from harness.databases import SqliteDatabase
from harness.installation import Installation, ended
from harness.processes import Process, free_port, until
from tests.support.stub import Stub


@pytest.fixture
def on_sqlite(prepared: Installation, tmp_path: Path) -> Installation:
    """Return an installation of the test's own, where nothing is about the database."""
    return prepared.copy(tmp_path, prepared.database.copy(tmp_path))


# --- signals at the moments at which they were lost, or left somebody behind


@pytest.mark.parametrize(
    "moment",
    [
        Moment("web", signal.SIGKILL, forks=1),
        Moment("web", signal.SIGTERM, forks=1),
        Moment("cluster", signal.SIGKILL, forks=2, which=0.5),
        Moment("service", signal.SIGKILL, forks=2),
    ],
    ids=str,
)
def test_nobody_is_left_after_a_signal_at_a_moment(on_sqlite: Installation, moment: Moment) -> None:
    with ended(on_sqlite):
        assert strike(on_sqlite, moment) == []


def test_a_web_server_is_asked_to_end_while_its_worker_loads(on_sqlite: Installation) -> None:
    """A worker that had its parent's handler would lose the signal and be killed 15 s later."""
    with ended(on_sqlite):
        web = on_sqlite.launch("web.log", "-m", "agentos_site.web")
        until(lambda: children_of(web), every=0.001, within=30, what="the worker is forked")

        assert web.terminate(within=10) == 0


def children_of(process: Process) -> str:
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()


def test_a_cluster_ends_in_order_when_it_is_asked_to_before_it_has_begun(on_sqlite: Installation) -> None:
    with ended(on_sqlite):
        cluster = on_sqlite.launch("cluster.log", "manage.py", "qcluster")
        until(lambda: catches(cluster, signal.SIGTERM), every=0.001, within=30, what="it has its own handlers")

        assert cluster.terminate(within=10) == 0

        assert "Traceback" not in cluster.output


def catches(process: Process, number: signal.Signals) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


# --- ports


@pytest.mark.parametrize("program", ["agentos_site", "agentos_site.web"])
def test_a_port_that_another_program_holds_is_named_in_one_sentence(on_sqlite: Installation, program: str) -> None:
    with ended(on_sqlite), socket.create_server(("127.0.0.1", on_sqlite.port)):
        process = on_sqlite.launch("web.log", "-m", program)

        assert process.popen.wait(30) == 1

        assert f"Port {on_sqlite.port} of 127.0.0.1 cannot be used (Address already in use)." in process.output
        assert "Traceback" not in process.output


def test_a_web_server_holds_its_port_alone_and_while_its_worker_is_replaced(on_sqlite: Installation) -> None:
    with ended(on_sqlite):
        web = on_sqlite.start_web()
        second = on_sqlite.launch("second.log", "-m", "agentos_site.web")

        assert second.popen.wait(30) == 1
        os.kill(int(children_of(web)), signal.SIGKILL)
        assert on_sqlite.get("/healthz")[0] == 200

        assert f"Port {on_sqlite.port} of 127.0.0.1 cannot be used" in second.output


# --- a database that cannot be used yet


def test_a_service_waits_for_a_database_that_is_away_and_says_so(prepared: Installation, tmp_path: Path) -> None:
    elsewhere = SqliteDatabase(tmp_path)
    elsewhere.url = f"postgres://agentos:hidden@127.0.0.1:{free_port()}/agentos"
    installation = prepared.copy(tmp_path, elsewhere)
    with ended(installation):
        service = installation.launch("service.log", "-m", "agentos_site")
        until(lambda: "The database is unreachable (" in service.output, within=30, what="the cluster says so")
        until(lambda: installation.why_not_ready() == "The database is unreachable.", within=30, what="/readyz says so")

        service.terminate(within=10)

        assert "Traceback" not in service.output
        assert "hidden" not in service.output


def test_a_service_begins_once_its_database_is_migrated(prepared: Installation, tmp_path: Path) -> None:
    for key in prepared.directory.glob("*.key*"):
        shutil.copy(key, tmp_path)
    installation = Installation(tmp_path, SqliteDatabase(tmp_path), WORKERS="1")
    with ended(installation):
        service = installation.launch("service.log", "-m", "agentos_site")
        until(lambda: "run `manage.py migrate`" in service.output, within=30, what="the cluster says what is missing")
        until(lambda: "run `manage.py migrate`" in installation.why_not_ready(), within=30, what="/readyz says so")

        installation.manage("migrate", "-v", "0")

        until(lambda: installation.why_not_ready() == "", within=30, what="it is ready")
        assert "Traceback" not in service.output


# --- open files


def test_an_installation_takes_as_many_open_files_as_the_system_grants(on_sqlite: Installation, stub: Stub) -> None:
    on_sqlite.prefix = ["sh", "-c", 'ulimit -S -n 64 && exec "$@"', "sh"]
    with ended(on_sqlite):
        on_sqlite.start()
        running = make(on_sqlite, AUTOMATIONS)
        stub.answer(path="/slow", delay=1)

        executions = [running.start("call", {"url": stub.url + "/slow"}) for _ in range(100)]

        for execution_id in executions:
            running.wait(execution_id, Status.SUCCESS)

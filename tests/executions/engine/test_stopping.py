"""SIGTERM: whatever else the cluster does, its engines stop at once, and it ends in time with nothing lost."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Any

import pytest

from executions.states import Status
from harness.automations import AUTOMATIONS, make
from harness.databases import PostgresqlDatabase
from harness.installation import Installation
from harness.processes import Process, children, group_is_alive, until
from tests.support.stub import Stub

IN_FLIGHT = 100
SHORT_S, LONGEST_S = 5, 20  # within which a cluster ends whose steps are short, and any
TELL = """
from django.contrib.auth.models import User
from django_q.tasks import async_task
from projects.models import Membership, Organization, UsageMonth, this_month
organization = Organization.objects.get(name="Tested")
Organization.objects.filter(pk=organization.pk).update(hard_limit=10)
UsageMonth.objects.update_or_create(organization=organization, month=this_month(), defaults={"reserved": 8})
user = User.objects.create_user("ada", "ada@example.com")
Membership.objects.create(organization=organization, user=user, role="owner")
async_task("executions.tasks.notify_of_limits")
"""


def cluster_of(installation: Installation) -> Process:
    assert installation.cluster is not None
    return installation.cluster


def test_sigterm_ends_the_cluster_with_all_in_flight_finished(whole: Installation, stub: Stub) -> None:
    running = make(whole, AUTOMATIONS)
    stub.answer(path="/slow", delay=1)
    executions = [running.start("call", {"url": stub.url + "/slow"}) for _ in range(IN_FLIGHT)]
    stub.wait_for(IN_FLIGHT)
    cluster = cluster_of(whole)

    assert cluster.terminate(within=SHORT_S) == 0

    assert [running.status(execution_id) for execution_id in executions] == [Status.SUCCESS] * IN_FLIGHT
    assert not whole.query("SELECT id FROM executions_engine")
    assert not group_is_alive(cluster.pid)


def test_sigterm_waits_no_longer_than_another_writer(cluster: Installation) -> None:
    """The engine's last word meets the file's lock; it must not rest for seconds before it tries again."""
    if cluster.backend == "postgresql":
        pytest.skip("its writers wait for rows, not for a file")
    with cluster.database.away():
        cluster_of(cluster).signal(signal.SIGTERM)
        until(lambda: "stopping cluster processes" in cluster_of(cluster).output, what="the sentinel stops")
        time.sleep(0.3)  # any engine has tried by then, or is none the worse for it

    assert cluster_of(cluster).popen.wait(SHORT_S) == 0

    assert not cluster.query("SELECT id FROM executions_engine")


def test_sigterm_waits_for_no_mail_server_that_hangs(installation: Installation, stub: Stub) -> None:
    """A worker's main thread hangs in housekeeping; its engine hears of the end all the same."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        hole.settimeout(15)
        installation.settings["EMAIL_URL"] = f"smtp://127.0.0.1:{hole.getsockname()[1]}"
        installation.start()
        running = make(installation, AUTOMATIONS)
        installation.python(TELL)
        stub.answer(path="/slow", delay=1)
        caller, _ = hole.accept()
        with caller:
            execution_id = running.start("once", {"url": stub.url + "/slow"})
            stub.wait_for(1)

            code = cluster_of(installation).terminate(
                within=2 * SHORT_S
            )  # not the 20 s that the mail server would hold it

    assert (code, running.status(execution_id)) == (0, Status.SUCCESS)
    assert not installation.query("SELECT id FROM executions_engine")
    assert not group_is_alive(cluster_of(installation).pid)


def test_a_sentinel_that_stands_still_is_killed_once_the_engines_have_stopped(whole: Installation, stub: Stub) -> None:
    if whole.backend == "postgresql":
        pytest.skip("nothing of it is about the database")
    running = make(whole, AUTOMATIONS)
    cluster = cluster_of(whole)
    stub.answer(path="/slow", delay=1)
    execution_id = running.start("once", {"url": stub.url + "/slow"})
    stub.wait_for(1)
    os.kill(children(cluster.pid)[0], signal.SIGSTOP)

    assert cluster.terminate(within=LONGEST_S) != 0

    assert running.status(execution_id) == Status.SUCCESS
    assert not group_is_alive(cluster.pid)


def allow_connections(database: Any, *, are_allowed: bool) -> None:
    """Let nobody in and end who is, as when a server is away; or let them in again."""
    assert isinstance(database, PostgresqlDatabase)
    database._administer(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS {are_allowed}")
    if not are_allowed:
        ours = f"FROM pg_stat_activity WHERE datname = '{database.name}'"
        database._administer(f"SELECT pg_terminate_backend(pid) {ours}")


def test_sigterm_just_after_the_database_came_back(whole: Installation, stub: Stub) -> None:
    """django-q2's pusher sleeps for 10 s after an error, and its sentinel waits for the pusher."""
    if whole.backend == "sqlite":
        pytest.skip("a file is not away for a while")
    running = make(whole, AUTOMATIONS)
    cluster = cluster_of(whole)
    stub.answer(path="/slow", delay=1)
    allow_connections(whole.database, are_allowed=False)
    until(lambda: "Failed to pull task" in cluster.output, what="the pusher sleeps")
    allow_connections(whole.database, are_allowed=True)
    execution_id = running.start("once", {"url": stub.url + "/slow"})
    stub.wait_for(1)

    assert cluster.terminate(within=SHORT_S) == 0

    assert running.status(execution_id) == Status.SUCCESS
    assert not whole.query("SELECT id FROM executions_engine")
    assert not group_is_alive(cluster.pid)


def test_no_engine_claims_once_the_cluster_is_asked_to_stop(whole: Installation, stub: Stub) -> None:
    running = make(whole, AUTOMATIONS)
    stub.answer(path="/slow", delay=2)
    under_way = running.start("call", {"url": stub.url + "/slow"})
    stub.wait_for(1)
    cluster = cluster_of(whole)

    cluster.signal(signal.SIGTERM)
    until(lambda: "stops" in cluster.output, every=0.01, what="the cluster is asked to stop")
    later = [running.start("transform") for _ in range(3)]
    cluster.popen.wait(SHORT_S + 5)

    assert running.status(under_way) == Status.SUCCESS
    assert {running.status(execution_id) for execution_id in later} == {Status.PENDING}

"""Retention beside everything else: real traffic, a real cluster, real files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from harness.automations import AUTOMATIONS, make
from harness.installation import Installation
from harness.processes import until

KEPT, SENT = 20, 400

ROUNDS = """
import time
from django.db import OperationalError
from executions.housekeeping import retention
from executions.store import partitions
end, removed = time.monotonic() + 8, 0
while time.monotonic() < end:
    run = retention.begin()
    retention.perform(run)
    removed += run.executions
    if partitions.are_used():  # and weeks that come and go all the time
        try:
            partitions.drop(partitions.partitions_of("executions_execution")[-1], partitions.EXECUTIONS)
        except OperationalError:
            pass
print(removed)
"""

READ = """
import time
from django.contrib.auth.models import User
from django.test import Client
from executions.models import Execution
from projects.models import Membership, Project
project = Project.objects.get(name="Tested")
user = User.objects.create_user("reader")
Membership.objects.create(organization=project.organization, user=user, role="owner")
client = Client(headers={"host": "localhost"})
client.force_login(user)
end, statuses = time.monotonic() + 8, set()
log = f"/projects/{project.pk}/executions/"
while time.monotonic() < end:
    statuses.add(client.get(log).status_code)
    oldest = Execution.objects.order_by("id").first()
    if oldest:  # it may go while it is read, and is not found then
        found = client.get(f"{log}{oldest.pk}/").status_code
        statuses.add(200 if found == 404 else found)
print(sorted(statuses))
"""


def test_nothing_is_lost_or_unreadable_while_retention_runs(whole: Installation) -> None:
    made = make(whole, {"transform": AUTOMATIONS["transform"]})
    made.set_organization("keep_count", KEPT)

    with ThreadPoolExecutor(8) as threads:
        rounds, reading = threads.submit(whole.shell, ROUNDS), threads.submit(whole.shell, READ)
        accepted = list(threads.map(lambda _: made.start("transform"), range(SENT)))
        removed, statuses = int(rounds.result()), reading.result()

    assert len(set(accepted)) == SENT
    until(lambda: made.counted == SENT, what="each accepted execution is counted")
    assert statuses.strip() == "[200]"
    assert removed > 0
    whole.manage("retention")
    left = whole.query("SELECT id, status FROM executions_execution ORDER BY id")
    assert len(left) == KEPT and {row["status"] for row in left} == {3}
    runs = whole.query("SELECT COUNT(DISTINCT execution_id) AS n FROM executions_steprun")
    assert runs[0]["n"] == KEPT


FILL = """
from datetime import timedelta
from django.utils import timezone
from executions.models import Execution, StepRun
from projects.ids import id_at
from projects.models import Organization, Project
from automations.models import Automation
organization = Organization.objects.create(name="Old")
project = Project.objects.create(organization=organization, name="Old")
old = [id_at(timezone.now() - timedelta(days=100)) for _ in range(1000)]
of = {"organization_id": organization.pk}
Execution.objects.bulk_create(Execution(
    id=id, project=project, automation_id=project.pk, version_id=project.pk, status=3, **of) for id in old)
StepRun.objects.bulk_create(StepRun(
    execution_id=id, attempt=0, key="trigger", position=0, status=3, connector="http", action="request",
    started_at=timezone.now(), input="x" * 10_000, input_bytes=10_000, **of) for id in old)
"""


def test_the_file_shrinks_when_much_was_removed(installation: Installation) -> None:
    if installation.backend != "sqlite":
        pytest.skip("PostgreSQL reuses and returns its space itself")
    file = installation.directory / "agentos.sqlite3"
    installation.shell(FILL)
    full = size_of(installation)

    installation.manage("retention")

    assert full > 10_000_000
    assert size_of(installation) < full / 4
    assert file.exists()
    assert installation.query("SELECT pages FROM executions_retentionrun")[0]["pages"] > 1000


def size_of(installation: Installation) -> int:
    installation.query("PRAGMA wal_checkpoint(TRUNCATE)")
    return (installation.directory / "agentos.sqlite3").stat().st_size


def test_the_cluster_runs_retention_by_itself(installation: Installation) -> None:
    installation.shell(FILL)
    installation.start_cluster()
    schedules = installation.query("SELECT func FROM django_q_schedule")
    assert [row["func"] for row in schedules].count("executions.tasks.remove_old") == 1
    installation.query("UPDATE django_q_schedule SET next_run = started FROM (SELECT MIN(started_at) AS started"
                       " FROM executions_engine) e")  # fmt: skip

    def is_done() -> bool:
        rows = installation.query("SELECT executions FROM executions_retentionrun WHERE is_complete")
        return bool(rows) and rows[0]["executions"] == 1000

    until(is_done, within=90, what="a complete round")


MUCH_LATER = """
from datetime import timedelta
from django.utils import timezone
from executions.housekeeping import retention
run = retention.begin()
retention.perform(run, now=timezone.now() + timedelta(days=200))
print(run.is_complete, "executions_execution" in run.partitions)
"""


def test_a_week_is_dropped_another_time_when_somebody_reads_it(installation: Installation) -> None:
    if installation.backend == "sqlite":
        pytest.skip("SQLite has no partitions")
    with psycopg.connect(installation.database.url) as reader:
        reader.execute("LOCK TABLE ONLY executions_execution IN ACCESS SHARE MODE")
        assert installation.shell(MUCH_LATER).split() == ["True", "False"]

    assert installation.shell(MUCH_LATER).split() == ["True", "True"]

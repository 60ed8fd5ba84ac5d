from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from automations.models import Automation
from executions.models import Engine, Execution, StepRun
from executions.states import Status, StepStatus
from executions.store import measures
from harness.installation import Installation
from harness.processes import until
from projects.models import Organization, Project, Variable
from tests.support.door import send


def test_readyz_says_what_is_missing_until_an_engine_beats(server: Installation) -> None:
    status, body = server.get("/readyz")
    assert (status, "No engine is running" in json.loads(body)["reason"]) == (503, True)

    server.start_cluster()

    until(lambda: server.get("/readyz")[0] == 200, what="ready")
    assert "runs" in server.manage("engines")


def test_healthz_answers_and_readyz_does_not_when_the_database_is_away(server: Installation) -> None:
    if server.backend == "sqlite":
        return  # a locked SQLite file still answers reads
    with server.database.away():
        status, body = server.get("/readyz")
        assert (status, json.loads(body)["reason"]) == (503, "The database is unreachable.")
        assert server.get("/healthz")[0] == 200


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/readyz", 503), ("/metrics", 401)])
def test_probes_are_answered_by_address_and_over_plain_http(path: str, status: int, settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT, settings.METRICS_TOKEN = True, "opens-the-metrics"

    answer = send(path, method="GET", HTTP_HOST="10.1.2.3:8000")

    assert answer.status == status


@pytest.mark.django_db
@pytest.mark.parametrize("secret", ["variable", "trigger"])
def test_readyz_says_that_the_keys_of_the_stored_secrets_are_lost(
    secret: str, client: Client, make_automation: Callable[..., Automation], project: Project, settings: Settings
) -> None:
    Engine.objects.create(host="here", pid=1, boot_id="")
    if secret == "variable":
        variable = Variable(project=project, key="KEY")
        variable.value = "hidden"
        variable.save()
    else:
        make_automation()
    kept = settings.FIELD_KEYS
    assert client.get("/readyz").status_code == 200

    settings.FIELD_KEYS = [Fernet.generate_key().decode()]

    answer = client.get("/readyz")
    assert (answer.status_code, "FIELD_KEYS does not open" in answer.json()["reason"]) == (503, True)
    settings.FIELD_KEYS = [*settings.FIELD_KEYS, *kept]
    assert client.get("/readyz").status_code == 200


# --- manage.py engines


def engines(*options: str) -> list[str]:
    """Return the lines that the command prints."""
    out = StringIO()
    call_command("engines", *options, stdout=out)
    return out.getvalue().splitlines()


@pytest.mark.django_db
def test_engines_says_when_there_is_none() -> None:
    assert engines() == ["No engine is running. Start the cluster: manage.py qcluster."]


@pytest.mark.django_db
def test_engines_marks_one_that_stops_and_one_whose_lease_is_over() -> None:
    now = timezone.now()
    for pid, (is_stopping, silent) in enumerate(((False, 0), (True, 0), (False, 300))):
        beat_at, started_at = now - timedelta(seconds=silent), now + timedelta(seconds=pid)
        fields = {"is_stopping": is_stopping, "beat_at": beat_at, "started_at": started_at}
        Engine.objects.create(host="here", pid=pid, boot_id="", **fields)

    fresh, stopping, stale = engines()

    assert "here:0" in fresh and "stopping" not in fresh and "STALE" not in fresh
    assert "here:1" in stopping and stopping.endswith("stopping")
    assert "here:2" in stale and "STALE" in stale


def test_engines_lists_what_each_runs_and_how_far_it_is(make_execution: Callable[..., Execution]) -> None:
    engine = Engine.objects.create(host="here", pid=1, boot_id="")
    values = {"status": Status.RUNNING, "engine_id": engine.pk, "attempt": 2}
    hour_ago = timezone.now() - timedelta(hours=1)
    long, new = make_execution(started_at=hour_ago, **values), make_execution(started_at=timezone.now(), **values)
    make_execution(status=Status.SUCCESS, engine_id=engine.pk)
    for attempt, position, status in (
        (1, 9, StepStatus.SUCCESS),
        (2, 3, StepStatus.FAILED),
        (2, 4, StepStatus.RUNNING),
    ):
        StepRun.objects.create(
            execution_id=long.pk, attempt=attempt, key=f"step{position}", position=position, status=status,
            organization_id=long.organization_id, connector="http", action="request", started_at=hour_ago,
        )  # fmt: skip

    of_engine, first, second = engines("--executions")

    assert "here:1" in of_engine and len(engines()) == 1
    assert f"{long.pk}  Orders  attempt 2  after step 3  for 3" in first
    assert f"{new.pk}  Orders  attempt 2  no step finished yet  for" in second


def test_engines_tells_which_organizations_hold_slots_and_which_wait(
    make_execution: Callable[..., Execution], organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "COUNTED_OF_ONE", 2)
    other = Organization.objects.create(name="Other")
    for holders in ({str(other.pk): 7}, {str(other.pk): 1, str(organization.pk): 1}):
        Engine.objects.create(host="here", pid=1, boot_id="", running=9, holders=json.dumps(holders))
    for _ in range(3):
        make_execution()

    _, _, first, second = engines()

    assert first == f"{other.pk}  Other  holds 8 slots  0 executions due"
    assert second == f"{organization.pk}  Acme  holds 1 slots  2 or more executions due"

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.signals import request_started
from django.db import close_old_connections
from django.test import Client
from django.utils import timezone

from executions import sealed_json
from executions.log import polls
from executions.log.poll_budget import budget
from executions.models import Execution, StepRun
from executions.states import Status, StepStatus
from projects.models import Project
from tests.support.pages import TRIGGER
from tests.support.polling import Poll, poll_as

type MakeExecution = Callable[..., Execution]
type MakeStep = Callable[..., StepRun]


@pytest.fixture
def visitor(client: Client, builder: User) -> Client:
    """Return the builder's browser, signed in."""
    client.force_login(builder)
    return client


@pytest.fixture
def poll(visitor: Client) -> Iterator[Poll]:
    """Return the builder's browser as a page that polls; nobody has polled before."""
    request_started.disconnect(close_old_connections)  # the test's transaction lives on
    yield partial(poll_as, visitor)
    request_started.connect(close_old_connections)
    polls.forget()
    budget.forget()


@pytest.fixture
def log_url(project: Project) -> str:
    return f"/projects/{project.pk}/executions/"


@pytest.fixture
def make_step() -> MakeStep:
    def make(execution: Execution, key: str, **fields: Any) -> StepRun:
        now = timezone.now()
        values: dict[str, Any] = {
            "execution": execution, "key": key, "attempt": 1, "organization_id": execution.organization_id,
            "position": 1, "status": StepStatus.SUCCESS, "connector": "http", "action": "request", "title": key.title(),
            "started_at": now, "finished_at": now + timedelta(milliseconds=40), "input": "{}", "input_bytes": 2,
        }  # fmt: skip
        return StepRun.objects.create(**values | fields)

    return make


@pytest.fixture
def failed(make_execution: MakeExecution, make_step: MakeStep) -> Execution:
    """Return an execution whose one step failed for a cause outside."""
    now = timezone.now()
    execution = make_execution(
        status=Status.FAILED, reason_code="http_status", reason="Step “Fetch” failed: answered 503.",
        started_at=now, finished_at=now + timedelta(milliseconds=40), steps=1, connectors="http",
    )  # fmt: skip
    text = sealed_json.dumps(TRIGGER)
    make_step(
        execution, "trigger", attempt=0, position=0, title="Trigger", action="request", input=text,
        input_bytes=len(text),
    )  # fmt: skip
    output = '{"status":503,"body":"maintenance"}'
    make_step(
        execution, "fetch", status=StepStatus.FAILED, error="answered 503.", error_code="http_status",
        is_external=True, output=output, output_bytes=len(output),
    )  # fmt: skip
    return execution

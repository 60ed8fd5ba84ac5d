from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from executions.models import Execution
from executions.states import Status
from executions.store import space
from projects.ids import id_at
from projects.models import Organization
from tests.support.api import make_step
from tests.support.retention import ago

type MakeExecution = Callable[..., Execution]
type MakeOld = Callable[..., Execution]


@pytest.fixture
def compact(db: None) -> None:
    """Begin without free pages: a round gives back what it removed, not what the tests before did."""
    while space.give_back(2**31):  # each time the file is shorter, and a tenth of it less
        pass


@pytest.fixture
def kept(organization: Organization) -> Organization:
    """Let the organization keep executions for 90 days and their payloads for 30."""
    Organization.objects.update(keep_days=90, keep_payloads_days=30, keep_count=None)
    organization.refresh_from_db()
    return organization


@pytest.fixture
def make_old(make_execution: MakeExecution) -> MakeOld:
    """Return a function that stores an execution of so many days ago, with its trigger's payload and one step."""

    def make(days: float, **fields: Any) -> Execution:
        execution = make_execution(**{"id": id_at(ago(days)), "status": Status.SUCCESS, "steps": 1, **fields})
        make_step(execution, "trigger", attempt=0, position=0, input='{"body":{"name":"ada"}}')
        make_step(execution, "fetch", output='{"ok":true}', error="kept words")
        return execution

    return make

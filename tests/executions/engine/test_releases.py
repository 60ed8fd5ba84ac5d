"""Two releases side by side: what only the newer one can read is left to it."""

from __future__ import annotations

import uuid

import pytest

from executions.states import Status
from harness.automations import TRANSFORM, Made, make
from harness.installation import Installation

CHANGE = """
from automations.models import Version
for version in Version.objects.all():
    Version.objects.filter(pk=version.pk).update(definition=version.definition | %r)
"""


@pytest.fixture
def waiting(server: Installation) -> tuple[Made, uuid.UUID]:
    """Return an execution that no engine has seen, because none runs."""
    made = make(server, {"transform": [TRANSFORM]})
    return made, made.start("transform")


def test_an_execution_that_only_a_newer_release_can_read_waits_for_it(waiting: tuple[Made, uuid.UUID]) -> None:
    made, execution_id = waiting
    installation = made.installation
    installation.python(CHANGE % {"format": 2})
    old = installation.start_cluster()
    paused = made.wait(execution_id, Status.PAUSED)

    installation.python(CHANGE % {"format": 1})  # so a cluster that starts now can read it; the old one has seen it
    new = installation.start_another_cluster()
    try:
        old.terminate()
        done = made.wait(execution_id)
    finally:
        new.end()

    assert (paused["reason_code"], paused["reason"]) == (
        "newer_release",
        "The execution waits for a newer release of AgentOS.",
    )
    assert (done["status"], done["attempt"], made.counted) == (Status.SUCCESS, 1, 1)


def test_an_execution_that_no_release_can_read_fails(waiting: tuple[Made, uuid.UUID]) -> None:
    made, execution_id = waiting
    made.installation.python(CHANGE % {"steps": None})
    made.installation.start_cluster()

    execution = made.wait(execution_id)

    assert (execution["status"], execution["reason_code"]) == (Status.FAILED, "unreadable_version")


def test_a_trigger_that_only_a_newer_release_can_read_is_unavailable(waiting: tuple[Made, uuid.UUID]) -> None:
    made, _ = waiting
    made.installation.python(CHANGE % {"format": 2})
    made.change("transform", "is_throttled", False)  # what is live is looked up anew

    assert made.post("transform")[0] == 503
    assert made.executions == 1

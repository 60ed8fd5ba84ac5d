"""Nothing runs on an engine without a lease: a late claim takes nothing, and a sweep finds what is left over."""

from __future__ import annotations

import os
import signal
import uuid
from typing import Any

from executions.engine.beats import BEAT_S
from executions.states import Status
from harness.automations import TRANSFORM, Made, call, make
from harness.installation import Installation
from harness.processes import alive, until
from projects.ids import new_id
from tests.support.stub import Stub


def test_an_engine_that_stood_still_while_its_lease_ended_claims_nothing(whole: Installation, stub: Stub) -> None:
    """As a peer on another machine sees it, which ends the lease and cannot kill the process."""
    made = make(whole, {"call": [call()]})
    stub.answer(path="/slow", delay=2 * BEAT_S)
    made.wait(made.start("call", {"url": stub.url}))
    [engine] = whole.query("SELECT id, pid FROM executions_engine")
    os.kill(engine["pid"], signal.SIGSTOP)
    whole.query("DELETE FROM executions_engine WHERE id = %s", [uuid.UUID(str(engine["id"]))])
    accepted = [made.start("call", {"url": stub.url + "/slow"}) for _ in range(20)]

    os.kill(engine["pid"], signal.SIGCONT)

    until(lambda: not alive({engine["pid"]}), what="the worker without a lease has ended")
    assert {made.wait(execution_id)["claim"] for execution_id in accepted} == {1}


def test_what_runs_on_an_engine_without_a_row_goes_on_and_nobody_is_accused(server: Installation) -> None:
    made = make(server, {"transform": [TRANSFORM]})
    lost = [left_behind(made, server) for _ in range(2)]

    server.start_cluster()

    for execution_id in lost:
        row = made.wait(execution_id)
        assert (row["status"], row["claim"], row["suspicion"], row["deaths"]) == (Status.SUCCESS, 1, 0, 0)
    assert "2 executions ran on engines that are no more" in server.logs()


def left_behind(made: Made, installation: Installation) -> Any:
    """Return an execution that runs on an engine which has no row."""
    execution_id = made.start("transform")
    installation.query(
        "UPDATE executions_execution SET status = %s, engine_id = %s WHERE id = %s",
        [Status.RUNNING.value, new_id(), execution_id],
    )
    return execution_id

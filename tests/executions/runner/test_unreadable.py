"""What is stored and cannot be read back costs its own execution, caller or trigger, and nobody else's."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from executions import sealed_json
from executions.states import Status
from harness.automations import RESPOND, TRANSFORM, WAIT, Made, call, make
from harness.installation import Installation
from projects.ids import new_id
from tests.support.stub import Stub

OLD = '{"body": "key: \ue000sealed:gAAAAABoldToken\ue001."}'
SHAPE_LATER = {**TRANSFORM, "input": {"fields": {"name": "{{ trigger.body.name }}"}}}
REUSED = {"key": "reuse", "connector": "transform", "action": "fields",
          "input": {"fields": {"again": "{{ call.body.echo }}"}}}  # fmt: skip


def overwrite(made: Made, execution_id: UUID, key: str, side: str, text: str) -> None:
    made.installation.query(
        f"UPDATE executions_steprun SET {side} = %s WHERE execution_id = %s AND key = %s", [text, execution_id, key]
    )


@pytest.mark.parametrize("text", [OLD, f'{sealed_json.HEADER}"\ue000AAAA\ue000"', "{", '"\ue000sealed:AA\ue001'])
@pytest.mark.parametrize(("key", "side"), [("trigger", "input"), ("shape", "output")])
def test_an_execution_whose_data_cannot_be_read_fails_alone_with_a_reason(
    product: Installation, text: str, key: str, side: str
) -> None:
    made = make(product, {"wait": [TRANSFORM, WAIT, SHAPE_LATER], "other": [TRANSFORM, WAIT]})
    execution_id = made.start("wait")
    made.wait(execution_id, Status.PAUSED)
    overwrite(made, execution_id, key, side, text)
    other = made.start("other")

    execution = made.wait(execution_id)

    assert (execution["status"], execution["reason_code"]) == (Status.FAILED, "unreadable_data")
    what = "The trigger's payload" if key == "trigger" else "The output of step “Set fields”"
    assert execution["reason"].startswith(what)
    assert made.wait(other)["status"] == Status.SUCCESS


def test_a_seal_is_opened_by_its_own_execution_alone(product: Installation, stub: Stub) -> None:
    made = make(product, {"echo": [call(), WAIT, REUSED]})
    product.call("harness.factory.make_variable", str(made.project), "TOKEN", "s3cr3t-value", is_secret=True)
    stub.answer(body={"echo": "Bearer s3cr3t-value"}, path="/echo")
    first = made.start("echo", {"url": stub.url + "/echo"})
    assert made.wait(first)["status"] == Status.SUCCESS
    echo, _, reuse = made.step_runs(first)

    second = made.start("echo", {"url": stub.url + "/echo"})
    made.wait(second, Status.PAUSED)
    overwrite(made, second, "call", "output", str(echo["output"]))

    for run in (echo, reuse):
        assert "s3cr3t-value" not in run["output"] and "•" in sealed_json.shown(run["output"])
    stolen = made.wait(second)
    assert (stolen["status"], stolen["reason_code"]) == (Status.FAILED, "unreadable_data")
    assert "FIELD_KEYS" in stolen["reason"]


@pytest.mark.parametrize("text", [OLD, "{", f'{sealed_json.HEADER}{{"body": "\ue000AAAA\ue000"}}'])
def test_a_reply_that_cannot_be_read_is_its_callers_502_and_nobody_elses(product: Installation, text: str) -> None:
    made = make(product, {"respond": [TRANSFORM, RESPOND]})
    key = {"Idempotency-Key": "once"}
    assert made.post("respond", headers=key) == (200, {"name": "ADA"})
    [run] = made.select("execution_id", "executions_steprun", "key = 'reply'")
    overwrite(made, run["execution_id"], "reply", "output", text)

    status, answer = made.post("respond", headers=key)

    assert (status, answer["error"]["code"]) == (502, "unreadable_reply")
    assert answer["execution_id"]
    assert made.post("respond") == (200, {"name": "ADA"})


@pytest.mark.parametrize("secret", ["gAAAAAB", "AgAAAA", "é"])
def test_a_trigger_whose_secret_cannot_be_read_lets_nobody_in_and_says_so(product: Installation, secret: str) -> None:
    made = make(product, {"closed": [TRANSFORM], "open": [TRANSFORM]})
    sql = "UPDATE automations_trigger SET encrypted_secret = %s WHERE uid = %s"
    product.query(sql, [secret, made.triggers["closed"]])
    made.change("closed", "time_limit_s", 60)

    status, answer = made.post("closed")

    assert (status, answer["error"]["code"]) == (503, "unreadable_secret")
    assert made.executions == 0
    made.start("open")


def test_a_variable_that_cannot_be_read_fails_the_steps_that_use_it_alone(product: Installation) -> None:
    uses: dict[str, Any] = {**TRANSFORM, "input": {"fields": {"name": "{{ vars.LOST }}"}}}
    made = make(product, {"uses": [uses], "other": [TRANSFORM]})
    product.call("harness.factory.make_variable", str(made.project), "LOST", "s3cr3t-value", is_secret=True)
    product.query("UPDATE projects_variable SET encrypted = 'é' WHERE project_id = %s", [made.project])

    failed = made.wait(made.start("uses"))

    assert (failed["status"], failed["reason_code"]) == (Status.FAILED, "mapping_error")
    assert made.wait(made.start("other"))["status"] == Status.SUCCESS


@pytest.mark.parametrize("text", ["{", "[" * 5000, '"\ue000"', "7"])
def test_a_version_that_cannot_be_read_fails_its_own_execution_alone(product: Installation, text: str) -> None:
    broken, other = make(product, {"wait": [WAIT, WAIT]}), make(product, {"it": [TRANSFORM, WAIT]})
    execution_id = broken.start("wait")
    broken.wait(execution_id, Status.PAUSED)
    version = broken.read(execution_id)["version_id"]
    # As the row of a new version, because engines keep what they have read once.
    product.query("UPDATE automations_version SET definition = %s WHERE uid = %s", [text, version])
    copy = "INSERT INTO automations_version (uid, automation_id, number, definition, created_at)"
    uid = new_id()
    product.query(
        f"{copy} SELECT %s, automation_id, 99, definition, created_at FROM automations_version WHERE uid = %s",
        [uid, version],
    )
    product.query("UPDATE executions_execution SET version_id = %s WHERE id = %s", [uid, execution_id])

    failed = broken.wait(execution_id)

    assert (failed["status"], failed["reason_code"]) == (Status.FAILED, "unreadable_version")
    assert other.wait(other.start("it"))["status"] == Status.SUCCESS

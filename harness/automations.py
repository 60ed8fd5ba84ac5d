"""Automations of an installation under test, made through its models, and the results of their executions."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from typing import Any

from executions.states import FINAL, Status, StepStatus
from harness.databases import Row
from harness.installation import Installation
from harness.processes import until

TRANSFORM = {
    "key": "shape",
    "connector": "transform",
    "action": "fields",
    "input": {"fields": {"name": "{{ trigger.body.name | upcase }}"}},
}


def call(key: str = "call", **fields: Any) -> dict[str, Any]:
    """Return a step that posts the trigger's body to the URL in that body."""
    values = {"method": "POST", "url": "{{ trigger.body.url }}", "body_type": "json", "body": "{{ trigger.body }}"}
    step = {"key": key, "connector": "http", "action": "request", "input": values | {"fail_on_error_status": True}}
    return step | fields


WAIT = {"key": "wait", "connector": "wait", "action": "for", "input": {"amount": 1}}
LONG_WAIT = {"key": "wait", "connector": "wait", "action": "for", "input": {"amount": 1, "unit": "hours"}}
EMAIL = {"key": "mail", "connector": "email", "action": "send",
         "input": {"to": "ada@example.com", "subject": "Hello"}}  # fmt: skip
STOP_HERE = {
    "key": "only_if", "connector": "condition", "action": "continue_if",
    "input": {"conditions": {"all": [{"path": "trigger.body.name", "op": "equals", "value": "nobody"}]}},
}  # fmt: skip
RESPOND = {"key": "reply", "connector": "response", "action": "send", "input": {"body": "{{ shape }}"}}

AUTOMATIONS: dict[str, list[dict[str, Any]]] = {
    "transform": [TRANSFORM],
    "call": [call()],
    "patient": [call(retry={"times": 2, "backoff_s": 0.05})],
    "skip": [call(on_error="skip"), TRANSFORM],
    "chain": [TRANSFORM, call("first"), call("second")],
    "once": [call(if_interrupted="never_repeat")],
    "wait": [WAIT, TRANSFORM],
    "long wait": [LONG_WAIT],
    "email": [TRANSFORM, EMAIL],
    "condition": [STOP_HERE, TRANSFORM],
    "respond": [TRANSFORM, RESPOND],
    "no reply": [STOP_HERE, TRANSFORM, RESPOND],
    "unfinished": [{"key": "todo"}],
}


@dataclass(frozen=True, slots=True)
class Made:
    """The automations of one organization, by name."""

    installation: Installation
    organization: uuid.UUID
    project: uuid.UUID
    automations: dict[str, uuid.UUID]
    triggers: dict[str, str]

    def post(self, name: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Post to an automation's trigger URL; return the status and the body of the answer."""
        request = urllib.request.Request(
            f"{self.installation.url}/automations-api/run/{self.triggers[name]}",
            json.dumps(body if body is not None else {"name": "ada"}).encode(),
            {"Content-Type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                is_json = "json" in answer.headers["Content-Type"]
                return answer.status, json.loads(answer.read()) if is_json else answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def start(self, name: str, body: Any = None) -> uuid.UUID:
        """Post and return the id of the execution that was accepted."""
        status, answer = self.post(name, body)
        assert status == 202, answer
        return uuid.UUID(answer["execution_id"])

    def read(self, execution_id: uuid.UUID) -> dict[str, Any]:
        return self.installation.query("SELECT * FROM executions_execution WHERE id = %s", [execution_id])[0]

    def status(self, execution_id: uuid.UUID) -> Status:
        return Status(self.read(execution_id)["status"])

    def wait(self, execution_id: uuid.UUID, *statuses: Status, within: float = 20) -> dict[str, Any]:
        """Return the execution's row once it has one of the statuses; without statuses, a final one."""
        wanted = statuses or tuple(FINAL)
        until(lambda: self.status(execution_id) in wanted, within=within, what=f"{execution_id} {wanted}")
        return self.read(execution_id)

    def step_runs(self, execution_id: uuid.UUID) -> list[dict[str, Any]]:
        """Return the step runs in order, without the trigger's."""
        return self.installation.query(
            "SELECT * FROM executions_steprun WHERE execution_id = %s AND attempt > 0 ORDER BY attempt, position",
            [execution_id],
        )

    def steps(self, execution_id: uuid.UUID) -> list[tuple[str, str]]:
        return [(run["key"], StepStatus(run["status"]).label) for run in self.step_runs(execution_id)]

    def change(self, name: str, column: str, value: Any) -> None:
        """Change a column of an automation as a builder's click would, so that its trigger is looked up again."""
        uid = self.triggers[name]
        self.installation.query(
            f"UPDATE automations_automation SET {column} = %s, live_rev = live_rev + 1 WHERE uid ="
            " (SELECT automation_id FROM automations_trigger WHERE uid = %s)",
            [value, uid],
        )

    def set_organization(self, column: str, value: Any) -> None:
        """Change a setting of the organization, which has no other automations."""
        sql = f"UPDATE projects_organization SET {column} = %s WHERE uid = %s"
        self.installation.query(sql, [value, self.organization])

    def select(self, what: str, table: str, where: str = "1 = 1") -> list[Row]:
        """Return rows of the organization."""
        sql = f"SELECT {what} FROM {table} WHERE organization_id = %s AND {where}"
        return self.installation.query(sql, [self.organization])

    @property
    def executions(self) -> int:
        return int(self.select("COUNT(*) AS n", "executions_execution")[0]["n"])

    @property
    def counted(self) -> int:
        return int(self.select("COALESCE(SUM(count), 0) AS n", "projects_usageday")[0]["n"])


def make(
    installation: Installation,
    automations: dict[str, list[dict[str, Any]]],
    *,
    name: str = "Tested",
    owner: str = "",
    trigger: dict[str, Any] | None = None,
    **fields: Any,
) -> Made:
    """Make active automations with these steps and an open trigger URL each, in a new organization of that name.

    The other arguments are those of `harness.factory.make_organization`.
    """
    found = installation.call(
        "harness.factory.make_organization", name, automations, owner=owner, trigger=trigger, fields=fields
    )
    organization, project = uuid.UUID(found["organization"]), uuid.UUID(found["project"])
    ids = {key: uuid.UUID(uid) for key, uid in found["automations"].items()}
    return Made(installation, organization, project, ids, found["triggers"])

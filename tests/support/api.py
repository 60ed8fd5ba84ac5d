from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from django.contrib.auth.models import User
from django.test import Client

from connectors.sdk.call import JSON
from executions import sealed_json
from executions.models import Execution, StepRun
from executions.states import Status, StepStatus
from projects.ids import id_at
from projects.models import ApiToken

START = datetime(2026, 3, 1, 9, 0, 0, 250_000, tzinfo=UTC)
BODY: JSON = {"id": 7, "name": "O'Hara <b>", "big": 12345678901234567890123}


class Api:
    """A machine that asks the API in the name of a person, in one organization."""

    def __init__(self, user: User, organization: uuid.UUID) -> None:
        _, self.token = ApiToken.objects.make(user, "Test")
        self.organization = str(organization)
        self.client = Client(enforce_csrf_checks=True, raise_request_exception=False)

    def ask(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        *,
        token: str | None = None,
        organization: str | None = None,
    ) -> Any:
        headers = {
            "authtoken": self.token if token is None else token,
            "organization_uid": self.organization if organization is None else organization,
        }
        return self.client.generic(method, path, headers=headers, query_params=query or None)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        answer = self.ask("GET", f"/v1/{path}", query)
        assert answer.status_code == 200, answer.content
        return cast(dict[str, Any], answer.json())

    def error(self, path: str, **who: str) -> tuple[int, str]:
        """Return the status and the code of an error, which is empty when there is none."""
        answer = self.ask("GET", f"/v1/{path}", **who)  # type: ignore[arg-type]
        return answer.status_code, answer.json().get("error", {}).get("code", "")


def make_failed(make_execution: Callable[..., Execution]) -> Execution:
    """Return an execution of two steps that failed in its second attempt."""
    execution = make_execution(
        id=id_at(START - timedelta(milliseconds=12)), status=Status.FAILED, reason_code="http_status",
        reason="Answered 503.", started_at=START, finished_at=START + timedelta(milliseconds=48), attempt=2, steps=2,
    )  # fmt: skip
    make_step(execution, "trigger", attempt=0, position=0, title="Trigger", input=sealed_json.dumps({"body": BODY}))
    make_step(execution, "fetch", attempt=1, output='{"try":1}', status=StepStatus.FAILED)
    make_step(execution, "fetch", attempt=2, output='{"try":2}')
    make_step(
        execution, "tell", attempt=2, position=2, status=StepStatus.FAILED, title="Tell", error="Answered 503.",
        error_code="http_status", is_external=True, output='{"status":503}',
    )  # fmt: skip
    return execution


def make_step(execution: Execution, key: str, **fields: Any) -> StepRun:
    values: dict[str, Any] = {
        "attempt": 1, "organization_id": execution.organization_id, "position": 1, "status": StepStatus.SUCCESS,
        "connector": "http", "action": "request", "title": "Fetch", "started_at": START,
        "finished_at": START + timedelta(milliseconds=40), "input": '{"url":"https://example.com/"}',
    }  # fmt: skip
    values |= fields
    sizes = {f"{side}_bytes": len(values.get(side) or "") for side in ("input", "output")}
    return StepRun.objects.create(execution=execution, key=key, **sizes | values)


def list_of(execution: Execution) -> str:
    return f"projects/{execution.project_id}/executions"


def path_of(execution: Execution, rest: str = "") -> str:
    return f"{list_of(execution)}/{execution.pk}{rest}"

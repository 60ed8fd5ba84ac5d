"""An automation on the bench: its draft is tested by the builder's Test buttons."""

from __future__ import annotations

from typing import Any

from django.test import Client

from automations.models import Automation, StepTest
from tests.support.markup import compact


class Bench:
    """One automation whose steps are given, and its Test buttons."""

    def __init__(self, client: Client, automation: Automation) -> None:
        self.client = client
        self.automation = automation
        self.root = f"/projects/{automation.project_id}/automations/{automation.pk}/"

    def test(self, key: str, data: dict[str, Any] | None = None) -> StepTest:
        self.automation.refresh_from_db()
        path = "trigger/test/" if key == "trigger" else f"steps/{key}/test/"
        answer = self.client.post(self.root + path, data or {})
        assert answer.status_code == 302, answer.content.decode()[:2000]
        return StepTest.objects.get(automation=self.automation, step_key=key)

    def page(self, path: str) -> str:
        return compact(self.client.get(self.root + path).content.decode())


def step(connector: str, action: str, input_: dict[str, Any], key: str = "tested", **fields: Any) -> dict[str, Any]:
    return {"key": key, "connector": connector, "action": action, "input": input_, **fields}

"""The builder's pages, as a browser without JavaScript uses them."""

from __future__ import annotations

from typing import Any

from django.test import Client

from automations.models import Automation
from tests.support.markup import compact

OPTIONS = {"on_error": "stop", "retry_times": "0", "retry_backoff_s": "5", "time_limit_s": "", "if_interrupted": ""}


class Pages:
    """What a builder does to one automation through its pages."""

    def __init__(self, client: Client, automation: Automation) -> None:
        self.client = client
        self.automation = automation
        self.root = f"/projects/{automation.project_id}/automations/{automation.pk}/"

    def get(self, path: str = "") -> str:
        answer = self.client.get(self.root + path)
        assert answer.status_code == 200
        return compact(answer.content.decode())

    def post(self, path: str, data: dict[str, Any] | None = None, *, rev: int | None = None) -> Any:
        """Send a form as the page of now would, or one of an older draft."""
        self.automation.refresh_from_db()
        sent = {"rev": str(rev or self.automation.draft_rev), **(data or {})}
        answer = self.client.post(self.root + path, sent)
        self.automation.refresh_from_db()
        return answer

    def save(self, key: str, data: dict[str, Any], *, rev: int | None = None, **options: str) -> Any:
        form = {"key": key, "title": "", "note": "", **OPTIONS, **options}
        return self.post(f"steps/{key}/", {f"step-{name}": value for name, value in form.items()} | data, rev=rev)

    @property
    def keys(self) -> list[str]:
        return [step.key for step in self.automation.definition.steps]

    def step(self, key: str) -> Any:
        return self.automation.definition.find(key)

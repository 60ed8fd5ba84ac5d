from __future__ import annotations

import uuid
from typing import Any, cast

from django.contrib.auth.models import User
from django.test import Client

from projects.models import ApiToken


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

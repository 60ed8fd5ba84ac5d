"""The pages that list executions, requested in this process as a member, as a machine and as staff."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from bench.fill import Cast
from executions.log.filters import STATUS_ORDER
from executions.log.listing import PAGE_SIZE
from executions.models import Execution, Outcome
from projects.models import ApiToken, Membership

DEEP = 20  # number of the measured page that is reached by a cursor
MONTH_BACK = (timedelta(days=37), timedelta(days=30))

type Get = Callable[[], Any]


class Visitor:
    """A signed-in person who is staff, owner and holder of a token."""

    def __init__(self, actors: Cast) -> None:
        self.actors = actors
        organization = actors.project.organization
        user, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
        Membership.objects.get_or_create(organization=organization, user=user, role=Membership.Role.OWNER)
        _, token = ApiToken.objects.make(user, "bench")
        self.client = Client(SERVER_NAME="127.0.0.1")
        self.client.force_login(user)
        self.machine = Client(
            SERVER_NAME="127.0.0.1", headers={"authtoken": token, "organization_uid": str(organization.pk)}
        )
        self.log = f"/projects/{actors.project.pk}/executions/"

    def pages(self) -> dict[str, Get]:
        return {**self._log_pages(), **self._request_pages(), **self._other_pages()}

    def _log_pages(self) -> dict[str, Get]:
        busy, rare = self.actors.busy.pk, self.actors.rare.pk
        statuses = {status.label: self._get(f"{self.log}?status={status.code}") for status in STATUS_ORDER}
        start, end = (timezone.now() - ago for ago in MONTH_BACK)
        span = f"range=custom&from={start:%Y-%m-%dT%H:%M}&to={end:%Y-%m-%dT%H:%M}"
        return {
            "first page": self._get(self.log),
            **statuses,
            "busy automation": self._get(f"{self.log}?automation={busy}"),
            "rare automation": self._get(f"{self.log}?automation={rare}"),
            "busy automation, Rejected": self._get(f"{self.log}?automation={busy}&status=rejected"),
            "rare automation, Failed": self._get(f"{self.log}?automation={rare}&status=failed"),
            "a week, a month back": self._get(f"{self.log}?{span}"),
            "page 20": self._get(f"{self.log}?before={self._cursor()}"),
            "delta": self._get(f"{self.log}delta/?rows={self._shown()}"),
        }

    def _request_pages(self) -> dict[str, Get]:
        requests = f"/projects/{self.actors.project.pk}/automations/{self.actors.busy.pk}/requests/?period=30d"
        outcomes = {f"requests, {one.label}": self._get(f"{requests}&outcome={one.value}") for one in Outcome}
        return {"requests": self._get(requests), **outcomes}

    def _other_pages(self) -> dict[str, Get]:
        path = f"/v1/projects/{self.actors.project.pk}/executions?limit={PAGE_SIZE}"
        return {
            "API list": lambda: self.machine.get(path),
            "API list, Failed": lambda: self.machine.get(f"{path}&status=failed"),
            "admin": self._get("/admin/executions/execution/"),
            "admin, Failed": self._get("/admin/executions/execution/?status__exact=4"),
        }

    def _get(self, path: str) -> Get:
        return lambda: self.client.get(path)

    def _cursor(self) -> str:
        newest = Execution.objects.filter(project=self.actors.project).newest_first()
        return str(newest[(DEEP - 1) * PAGE_SIZE - 1].pk)

    def _shown(self) -> str:
        newest = Execution.objects.filter(project=self.actors.project).newest_first()[:PAGE_SIZE]
        return ",".join(f"{row.pk}:{row.rev}" for row in newest)

"""Pages that stay open, and ask the application for news as the web server would hand it on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from executions.models import Execution
from tests.support.door import Reply, send

type Poll = Callable[[str], Asked]


class Asked:
    """One poll's answer, and the statements that it took."""

    def __init__(self, reply: Reply, queries: list[str]) -> None:
        self.status, self.headers, self.text = reply.status, reply.headers, reply.body.decode()
        self.queries = queries

    @property
    def is_quick(self) -> bool:
        """Return whether one statement was enough; the store's may pass Django's recorder by."""
        return self.status == 204 and len(self.queries) <= 1 and "retry-after" not in self.headers


def cookie_of(browser: Client) -> str:
    return f"{settings.SESSION_COOKIE_NAME}={browser.cookies[settings.SESSION_COOKIE_NAME].value}"


def poll_as(browser: Client, path: str) -> Asked:
    """Poll as the page's script does in this browser, where somebody is signed in."""
    with CaptureQueriesContext(connection) as captured:
        reply = send(path, content_type=None, method="GET", HTTP_COOKIE=cookie_of(browser), HTTP_HX_REQUEST="true")
    return Asked(reply, [query["sql"] for query in captured.captured_queries])


def delta_of(log_url: str, *shown: Execution, told: str = "0", more: str = "") -> str:
    return f"{log_url}delta/?{more}rows={','.join(f'{one.pk}:{one.rev}' for one in shown)}&told={told}"


def advance(execution: Execution, **fields: Any) -> None:
    Execution.objects.filter(pk=execution.pk).update(rev=execution.rev + 1, **fields)
    execution.refresh_from_db()


def advance_the_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + seconds)

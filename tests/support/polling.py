"""Pages that stay open and ask for news: answered ahead of Django where nothing is new, and by a view otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from executions.log import polls
from executions.models import Execution
from tests.support.door import Reply

type Poll = Callable[[str], Asked]


class Asked:
    """One poll's answer, and the statements that it took."""

    def __init__(self, reply: Reply, queries: list[str]) -> None:
        self.status, self.headers, self.text = reply.status, reply.headers, reply.body.decode()
        self.queries = queries

    @property
    def is_quick(self) -> bool:
        """Return whether the store's one statement was enough, which passes Django's recorder by."""
        return self.status == 204 and not self.queries and "retry-after" not in self.headers


def cookie_of(browser: Client) -> str:
    return f"{settings.SESSION_COOKIE_NAME}={browser.cookies[settings.SESSION_COOKIE_NAME].value}"


def send(path: str, *, method: str = "GET", cookie: str = "", **headers: Any) -> Reply:
    """Ask as the web server does, in this thread, whose transaction holds the test's rows."""
    address, _, query = path.partition("?")
    asked = {"REQUEST_METHOD": method, "PATH_INFO": address, "QUERY_STRING": query, "HTTP_COOKIE": cookie}
    if answer := polls.answer(asked):
        return Reply(204, {name.lower(): value for name, value in answer.headers}, b"")
    response = Client().generic(method, path, HTTP_COOKIE=cookie, **headers)
    given = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, given, response.content)


def poll_as(browser: Client, path: str) -> Asked:
    """Poll as the page's script does in this browser, where somebody is signed in."""
    with CaptureQueriesContext(connection) as captured:
        reply = send(path, cookie=cookie_of(browser), HTTP_HX_REQUEST="true")
    return Asked(reply, [query["sql"] for query in captured.captured_queries])


def delta_of(log_url: str, *shown: Execution, told: str = "0", more: str = "") -> str:
    return f"{log_url}delta/?{more}rows={','.join(f'{one.pk}:{one.rev}' for one in shown)}&told={told}"


def advance(execution: Execution, **fields: Any) -> None:
    Execution.objects.filter(pk=execution.pk).update(rev=execution.rev + 1, **fields)
    execution.refresh_from_db()


def advance_the_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + seconds)

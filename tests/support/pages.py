"""The pages of the Execution Log, as a visitor reads them."""

from __future__ import annotations

import html
import re
import uuid
from typing import Any

from django.test import Client

from executions.models import Execution
from tests.support.markup import compact

ROW = re.compile(r'<tr id="execution-([0-9a-f-]{36})" data-rev="(\d+)"')
TRIGGER: dict[str, Any] = {
    "method": "POST", "query": {"from": "shop"}, "headers": {"content-type": "application/json"},
    "body": {"id": 7, "name": "O'Hara <b>", "big": 12345678901234567890123},
}  # fmt: skip


def url_of(execution: Execution, rest: str = "") -> str:
    return f"/projects/{execution.project_id}/executions/{execution.pk}/{rest}"


def text_of(client: Client, url: str, **headers: str) -> str:
    """Return a page with its entities read and without the white space of its layout."""
    answer = client.get(url, headers=headers)
    assert answer.status_code == 200, url
    return html.unescape(compact(answer.content.decode()))


def rows(client: Client, url: str) -> list[uuid.UUID]:
    """Return the ids of the executions on a page of the log, from top to bottom."""
    return [uuid.UUID(uid) for uid, _ in ROW.findall(text_of(client, url))]

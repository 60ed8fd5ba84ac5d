"""Text with the marks of sealed values, on each way into a stored payload: it is kept and shown as it came."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from automations.models import Automation
from executions import sealed_json
from executions.models import StepRun
from tests.support.door import FORM, send, stored, url_of

pytestmark = pytest.mark.django_db(transaction=True)

MARKED = ["\ue000sealed:AAAA\ue001", "\ue000", "\ue000\ue000", "\ue0002\ue000{}", "a\ue000=AgAA\ue000b", "\ue000AgAA"]
PARTS = st.sampled_from([*MARKED, "\\", '"', "sealed:", "\ue001"]) | st.text("\ue000=2A-")
TEXTS = st.lists(PARTS, max_size=5).map("".join)


@pytest.fixture
def open_door(make_automation: Callable[..., Automation]) -> str:
    return url_of(make_automation("Open", is_open=True))


@pytest.mark.parametrize("text", MARKED)
def test_each_part_of_a_request_is_kept_as_it_came(open_door: str, text: str) -> None:
    form = urlencode({"field": text, text: "x"}).encode()

    assert stored(send(open_door, json.dumps({text: [text]}).encode()))["body"] == {text: [text]}
    assert stored(send(open_door, json.dumps({text: [text]}, ensure_ascii=False).encode()))["body"] == {text: [text]}
    assert stored(send(open_door, form, FORM))["body"] == {"field": text, text: "x"}
    assert stored(send(open_door, text.encode(), "text/plain"))["body"] == text
    query = stored(send(f"{open_door}?a={quote(text)}&{quote(text)}=b", content_type=None, method="GET"))["query"]
    assert query == {"a": text, text: "b"}


@settings(derandomize=True, max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(text=TEXTS)
def test_any_text_is_kept_and_shown_as_it_came(open_door: str, text: str) -> None:
    assert stored(send(open_door, json.dumps([text]).encode()))["body"] == [text]


def test_a_large_payload_is_kept_whole_and_its_excerpt_is_clean(
    open_door: str, client: Client, builder: User, project: Any
) -> None:
    text = "\ue000" * sealed_json.ROW_LIMIT
    reply = send(open_door, json.dumps(text).encode())
    run = StepRun.objects.get(execution_id=reply.json["execution_id"])
    client.force_login(builder)

    page = client.get(f"/projects/{project.pk}/executions/{run.execution_id}/steps/0/trigger/input/").content.decode()

    assert stored(reply)["body"] == text
    assert run.input is not None and len(run.input) == sealed_json.EXCERPT
    assert 3_000 < page.count("\ue000") < 5_000 and "•" not in page


def test_what_an_older_release_sealed_is_masked_on_page_and_api_and_download(
    open_door: str, client: Client, builder: User, project: Any
) -> None:
    execution_id = send(open_door, b"{}").json["execution_id"]
    old = '{"body": {"key": "Bearer \ue000sealed:gAAAAABtoken\ue001", "cut": "\ue000sealed:gAAAAABtok"}}'
    StepRun.objects.filter(execution_id=execution_id).update(input=old)
    client.force_login(builder)
    root = f"/projects/{project.pk}/executions/{execution_id}/steps/0/trigger/input/"

    for path in (root, f"{root}?download"):
        shown = client.get(path).content.decode()
        assert "Bearer ••••••••" in shown
        assert "gAAAAAB" not in shown and "sealed:" not in shown

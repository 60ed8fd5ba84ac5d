"""An edit of a draft that somebody changed meanwhile changes nothing."""

from __future__ import annotations

import pytest

from tests.support.builder import Pages

STALE: list[tuple[str, dict[str, str]]] = [
    ("steps/fetch/move/", {"direction": "up"}),
    ("steps/fetch/duplicate/", {}),
    ("steps/fetch/delete/", {}),
    ("steps/fetch/disable/", {}),
    ("add/0/", {"action": "wait.for"}),
    ("trigger/", {"input-methods": "POST"}),
    ("trigger/replace/", {"event": "http.request"}),
    ("activate/", {"anyway": "1"}),
    ("discard/", {}),
]


@pytest.mark.parametrize(("path", "data"), STALE)
def test_stale_edit_changes_nothing_and_says_so(live: Pages, path: str, data: dict[str, str]) -> None:
    trigger, seen = live.automation.trigger, live.automation.draft_rev
    live.post("add/1/", {"action": "wait.for"})
    before = live.automation.draft

    answer = live.post(path, data, rev=seen)

    assert answer.status_code == 409
    page = answer.content.decode()
    assert "this draft has changed since you opened it" in page
    assert "deleted from the draft" not in page
    assert live.automation.draft == before
    assert live.automation.trigger == trigger


def test_stale_step_form_comes_back_with_what_was_typed(live: Pages) -> None:
    seen = live.automation.draft_rev
    live.post("add/1/", {"action": "wait.for"})

    answer = live.save("fetch", {"input-method": "GET", "input-url": "https://typed.example.com/"}, rev=seen)

    assert answer.status_code == 409
    page = answer.content.decode()
    assert "https://typed.example.com/" in page
    assert "Reload" in page


def test_edit_without_the_draft_it_saw_is_stale(live: Pages) -> None:
    for rev in ("", "x", "-1", "9" * 30):
        assert live.client.post(live.root + "steps/fetch/delete/", {"rev": rev}).status_code == 409

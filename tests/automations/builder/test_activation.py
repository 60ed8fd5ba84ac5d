"""Activation warns, refuses and makes a version; the draft stays apart from it."""

from __future__ import annotations

import re

from tests.support.builder import Pages
from tests.support.markup import compact


def test_activation_warns_first_and_goes_on_anyway(live: Pages) -> None:
    live.post("deactivate/")

    asked = live.post("activate/")
    assert asked.status_code == 200
    assert "Activate anyway" in compact(asked.content.decode())
    assert not live.automation.is_active

    live.post("activate/", {"anyway": "1"})
    assert live.automation.is_active


def test_activation_is_refused_without_trigger_or_steps(draft: Pages) -> None:
    answer = draft.post("activate/", {"anyway": "1"})

    assert answer.status_code == 422
    page = answer.content.decode()
    assert "Configure the trigger first." in page
    assert "Add at least one step first." in page
    assert not draft.automation.is_active


def test_warnings_name_the_step_and_the_problem(draft: Pages) -> None:
    draft.post("trigger/make/", {"event": "http.request"})
    draft.post("add/0/", {"action": "transform.template"})
    draft.post("add/1/", {"action": "email.send"})
    first, second = draft.keys
    draft.save(first, {"input-template": f"{{{{ {second}.message_id }}}}"}, title="Greeting")
    page = draft.get("activate/")

    assert "Not tested since the last change." in page
    assert "Greeting" in page
    assert ", a later step" in page
    assert "To is empty." in page


def test_missing_path_is_a_warning_that_names_it(draft: Pages) -> None:
    draft.post("trigger/make/", {"event": "http.request"})
    draft.post("add/0/", {"action": "transform.template"})
    draft.save(draft.keys[0], {"input-template": "{{ trigger.body.nothing_of_that_kind }}"})

    assert "nothing_of_that_kind" in re.sub(r"<input[^>]*>|<textarea.*?</textarea>", "", draft.get("activate/"))


def test_edit_of_a_live_automation_changes_the_draft_only(live: Pages) -> None:
    version = live.automation.live_version

    live.post("steps/fetch/duplicate/")

    assert live.automation.live_version == version
    assert "Unpublished changes" in live.get()

    live.post("activate/", {"anyway": "1"})
    assert live.automation.live_version is not None
    assert live.automation.live_version.number == 2
    assert "Unpublished changes" not in live.get()


def test_discarded_draft_is_the_live_version_again(live: Pages) -> None:
    before = live.automation.draft
    live.post("steps/fetch/duplicate/")

    live.post("discard/")

    assert live.automation.draft == before


def test_body_that_only_looks_like_json_is_a_warning(draft: Pages) -> None:
    draft.post("add/0/", {"action": "http.request"})
    form = {"input-method": "POST", "input-url": "https://example.com/", "input-body_type": "json"}

    draft.save(draft.keys[0], {**form, "input-body": '{"id": {{ trigger.body.id }}}'})
    assert "Body content is not JSON" in draft.get("activate/")

    draft.save(draft.keys[0], {**form, "input-body": '{"id": "{{ trigger.body.id }}"}'})
    assert "Body content is not JSON" not in draft.get("activate/")

    draft.save(draft.keys[0], {**form, "input-body": "{{ trigger.body }}"})
    assert "Body content is not JSON" not in draft.get("activate/")

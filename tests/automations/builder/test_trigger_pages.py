"""The trigger's page: its URL, its secret, its settings and its conditions."""

from __future__ import annotations

import re

import pytest

from automations.models import Automation, Trigger
from tests.support.builder import Pages


def test_trigger_secret_is_shown_once(draft: Pages) -> None:
    draft.post("trigger/make/", {"event": "http.request"})

    shown = re.search(r'id="new-secret">([^<]+)<', draft.get("trigger/"))
    assert shown
    for path in ("trigger/", "", "activate/"):
        assert shown[1] not in draft.get(path)


def test_trigger_made_twice_keeps_its_url(draft: Pages) -> None:
    draft.post("trigger/make/", {"event": "http.request"})
    first = draft.automation.trigger

    assert draft.post("trigger/make/", {"event": "http.request"}).status_code == 302
    assert draft.automation.trigger == first


def test_rotated_secret_keeps_the_url(live: Pages) -> None:
    before = live.automation.trigger
    assert before is not None

    live.post("trigger/rotate/")

    after = live.automation.trigger
    assert after == before
    assert after is not None
    assert after.encrypted_secret != before.encrypted_secret
    assert 'id="new-secret"' in live.get("trigger/")


def test_removed_secret_is_gone(live: Pages) -> None:
    live.post("trigger/remove-secret/")

    trigger = live.automation.trigger
    assert trigger is not None
    assert trigger.encrypted_secret == ""
    assert "No secret" in live.get("trigger/")


def test_replaced_trigger_has_a_new_url_and_keeps_its_settings(live: Pages) -> None:
    old = live.automation.trigger
    live.post("trigger/", {"input-methods": "POST", "input-headers": "X-Event"})

    live.post("trigger/replace/", {"event": "http.request"})

    new = live.automation.trigger
    assert old is not None
    assert new is not None
    assert new.url != old.url
    assert live.automation.definition.trigger.uid == new.uid
    assert live.automation.definition.trigger.config == {
        "methods": ["POST"], "headers": ["X-Event"], "starts_again": False,
    }  # fmt: skip
    assert Trigger.objects.get(pk=old.pk).replaced_at is not None


def test_reconfigured_trigger_keeps_its_url(live: Pages) -> None:
    before = live.automation.trigger

    live.post(
        "trigger/",
        {
            "input-methods": ["POST"],
            "start-conditions-mode": "any",
            "start-conditions-0-mode": "all",
            "start-conditions-0-0-path": "trigger.body.type",
            "start-conditions-0-0-op": "equals",
            "start-conditions-0-0-value": "order",
            "start-conditions-0-1-path": "trigger.body.total",
            "start-conditions-0-1-op": "is_positive",
            "start-conditions-0-1-value": "ignored",
            "start-conditions-1-mode": "any",
            "start-conditions-1-0-path": "trigger.query.force",
            "start-conditions-1-0-op": "is_truthy",
            "start-conditions-2-mode": "all",
            "start-conditions-2-0-path": "",
            "start-conditions-2-0-op": "equals",
            "start-conditions-2-0-value": "",
        },
    )

    assert live.automation.trigger == before
    stored = live.automation.definition.trigger.conditions.model_dump(exclude_none=True)
    assert stored == {
        "any": [
            {
                "all": [
                    {"path": "trigger.body.type", "op": "equals", "value": "order"},
                    {"path": "trigger.body.total", "op": "is_positive"},
                ]
            },
            {"any": [{"path": "trigger.query.force", "op": "is_truthy"}]},
        ]
    }
    page = live.get("trigger/")
    assert 'value="trigger.body.type"' in page
    assert '<option value="is_positive" selected>' in page


def many_conditions(count: int) -> dict[str, str]:
    """Return a form with so many conditions."""
    form = {"input-methods": "POST", "start-conditions-mode": "all", "start-conditions-0-mode": "any"}
    for number in range(count):
        form[f"start-conditions-0-{number}-path"] = "trigger.body"
        form[f"start-conditions-0-{number}-op"] = "contains"
        form[f"start-conditions-0-{number}-value"] = str(number)
    return form


def test_trigger_takes_a_hundred_conditions_and_no_more(live: Pages) -> None:
    assert live.post("trigger/", many_conditions(100)).status_code == 302

    refused = live.post("trigger/", many_conditions(101))

    assert refused.status_code == 422
    assert "There can be at most 100 conditions" in refused.content.decode()


def test_page_shows_the_many_conditions_of_an_older_definition(live: Pages) -> None:
    draft = live.automation.draft
    rows = [{"path": "trigger.body", "op": "contains", "value": "x"}] * 300
    Automation.objects.filter(pk=live.automation.pk).update(
        draft=draft | {"trigger": draft["trigger"] | {"conditions": {"any": rows}}}
    )

    assert live.get("trigger/").count("trigger.body") >= 300


@pytest.mark.parametrize(
    ("path", "op"),
    [("not a path!", "equals"), ("trigger.body.x", "unheard_of"), ("{{ }}", "equals"), ("x" * 501, "equals")],
)  # fmt: skip
def test_bad_condition_is_a_field_error(live: Pages, path: str, op: str) -> None:
    row = {"start-conditions-0-0-path": path, "start-conditions-0-0-op": op, "start-conditions-0-0-value": "1"}

    answer = live.post("trigger/", {"input-methods": "POST", **row})

    assert answer.status_code == 422
    assert "errorlist" in answer.content.decode()
    assert not live.automation.definition.trigger.conditions.members

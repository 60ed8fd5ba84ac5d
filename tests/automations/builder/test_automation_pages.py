"""An automation is made, named, copied, switched and deleted by its forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from automations.models import Automation
from projects.ids import new_id
from projects.models import Project
from tests.support.builder import Pages


def test_automation_is_built_and_activated_by_forms_alone(draft: Pages) -> None:
    draft.post("trigger/make/", {"event": "http.request"})
    draft.post("add/0/", {"action": "http.request"})
    key = draft.keys[0]
    draft.save(key, {"input-method": "GET", "input-url": "https://example.com/{{ trigger.body.id }}"}, title="Fetch it")
    draft.post("activate/", {"anyway": "1"})

    assert draft.automation.is_active
    version = draft.automation.live_version
    assert version is not None
    assert version.definition["steps"][0]["input"]["url"] == "https://example.com/{{ trigger.body.id }}"
    assert version.definition["steps"][0]["title"] == "Fetch it"
    assert "Version 1 is live" in draft.get()


def test_one_automation_is_made_when_its_form_is_sent_twice(client: Client, project: Project) -> None:
    sent = {"uid": str(new_id()), "name": "Twice"}

    answers = [client.post(f"/projects/{project.pk}/automations/new/", sent) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [302, 302]
    assert Automation.objects.filter(name="Twice").count() == 1


def test_name_is_refused_when_already_used(client: Client, automation: Automation, draft: Pages) -> None:
    new = client.post(
        f"/projects/{automation.project_id}/automations/new/", {"uid": str(new_id()), "name": automation.name}
    )
    settings = {"name": automation.name, "description": "", "time_limit_s": "300"}
    renamed = draft.post("settings/", settings)

    assert new.status_code == 422
    assert renamed.status_code == 422
    assert "already used" in renamed.content.decode()


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\nb", "\x00"])
def test_bad_name_is_a_field_error(draft: Pages, name: str) -> None:
    answer = draft.post("settings/", {"name": name, "description": "", "time_limit_s": "300"})

    assert answer.status_code == 422
    assert draft.automation.name == "Draft"


def test_settings_are_kept_within_the_organizations_limit(live: Pages) -> None:
    given = {"name": "Renamed", "description": "New", "time_limit_s": "60"}
    before = live.automation.live_rev

    assert live.post("settings/", given).status_code == 302
    assert live.post("settings/", {**given, "time_limit_s": "301"}).status_code == 422
    assert (live.automation.name, live.automation.time_limit_s) == ("Renamed", 60)
    assert live.automation.live_rev > before  # the trigger URL must notice


def test_deleted_automation_needs_its_name_typed(live: Pages) -> None:
    assert live.post("delete/", {"name": "something else"}).status_code == 422
    assert live.automation.deleted_at is None

    live.post("delete/", {"name": live.automation.name})
    assert live.automation.deleted_at is not None
    assert live.client.get(live.root).status_code == 404


def test_duplicate_is_inactive_with_a_trigger_of_its_own(live: Pages) -> None:
    answer = live.post("duplicate/")

    copy = Automation.objects.get(name="Orders copy")
    assert answer.headers["Location"].endswith(f"{copy.pk}/trigger/")
    assert not copy.is_active
    assert copy.trigger is not None
    assert copy.trigger != live.automation.trigger
    assert copy.definition.trigger.uid == copy.trigger.uid
    assert copy.definition.steps == live.automation.definition.steps
    assert 'id="new-secret"' in Pages(live.client, copy).get("trigger/")


def test_switch_turns_off_at_once_and_asks_before_turning_on(live: Pages) -> None:
    live.post("toggle/", {"active": "off"})
    assert not live.automation.is_active

    answer = live.post("toggle/", {"active": "on"})
    assert answer.headers["Location"].endswith("/activate/")
    assert not live.automation.is_active


def test_list_shows_automations_without_reading_each(
    client: Client, make_automation: Callable[..., Automation], django_assert_max_num_queries: Any
) -> None:
    project = make_automation("One").project_id
    for name in ("Two", "Three", "Four"):
        make_automation(name, is_active=False)

    with django_assert_max_num_queries(7):
        page = client.get(f"/projects/{project}/automations/").content.decode()

    assert [name for name in ("One", "Two", "Three", "Four") if name in page] == ["One", "Two", "Three", "Four"]
    assert page.count('aria-checked="true"') == 1

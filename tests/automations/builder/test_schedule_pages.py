"""Schedules in the builder: settings, next fire times, and when a live automation has one."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from automations.models import Automation, NotReady, Schedule, Trigger
from executions.intake.live_trigger import read_trigger
from tests.support.builder import Pages
from tests.support.markup import compact

DAILY = {"unit": "days", "interval": "1", "at": "09:30", "time_zone": "Europe/Berlin", "missed": "all"}
YEARLY = {"unit": "cron", "cron": "0 0 1 1 *"}


@pytest.fixture
def timed(client: Client, make_automation: Callable[..., Automation]) -> Pages:
    """Return the pages of an inactive automation with a step and a Scheduler without settings."""
    automation = make_automation(is_active=False)
    pages = Pages(client, automation)
    assert pages.post("trigger/replace/", {"event": "schedule.fires"}).status_code == 302
    return pages


def save(pages: Pages, config: dict[str, Any]) -> Any:
    form = {"start-conditions-match": "all", **{f"input-{name}": value for name, value in config.items()}}
    return pages.post("trigger/", form)


def next_at(pages: Pages) -> datetime | None:
    return Schedule.objects.filter(trigger__automation=pages.automation.pk).values_list("next_at", flat=True).first()


def live(pages: Pages, config: dict[str, Any]) -> None:
    assert save(pages, config).status_code == 302
    assert pages.post("activate/", {"anyway": "1"}).status_code == 302
    assert pages.automation.is_active


def test_the_page_says_why_there_are_no_fire_times_when_settings_are_unfinished(timed: Pages) -> None:
    page = timed.get("trigger/")

    assert "Every is empty: write the number of minutes." in page
    assert "Trigger URL" not in page


def test_the_next_five_fire_times_are_shown_in_the_schedules_zone(timed: Pages) -> None:
    assert save(timed, DAILY).status_code == 302

    page = timed.get("trigger/")

    assert page.count("<time datetime") == 5
    assert ", 09:30 CE" in page
    assert "Every day at 09:30" in page


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"unit": "cron", "cron": "* * * * * *"}, "exactly 5 fields"),
        ({"unit": "cron", "cron": "@reboot"}, "exactly 5 fields"),
        ({"interval": "0"}, "Every must be from 1 to 1,440 minutes."),
        ({"interval": "1", "time_zone": "../etc/passwd"}, "must be one of the choices"),
        ({"interval": "1", "metadata": "[1]"}, "a JSON object"),
        ({"interval": "1", "first_day": "2020-01-01"}, "First day must not be in the past."),
        ({"interval": "1", "last_day": "2020-01-01"}, "never fires"),
    ],
)
def test_wrong_settings_are_refused_at_their_field_and_not_saved(
    timed: Pages, config: dict[str, str], words: str
) -> None:
    answer = save(timed, config)

    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert timed.automation.definition.trigger.config == {}


def test_a_refused_form_keeps_the_json_that_was_typed(timed: Pages) -> None:
    page = save(timed, {"metadata": '{"region": "eu"}'}).content.decode()

    assert "{\n  &quot;region&quot;: &quot;eu&quot;\n}" in page


def test_a_first_day_may_stay_when_it_has_passed(timed: Pages) -> None:
    definition = timed.automation.definition
    definition.trigger.config = {"interval": 1, "first_day": "2020-01-01"}
    timed.automation.save_draft(definition, rev=timed.automation.draft_rev)

    assert save(timed, {"interval": "2", "first_day": "2020-01-01"}).status_code == 302


def test_activation_is_refused_when_the_schedule_is_unfinished(timed: Pages) -> None:
    with pytest.raises(NotReady, match="Finish the schedule"):
        timed.automation.activate(None)


def test_a_live_schedule_has_its_next_fire_time_and_an_inactive_one_none(timed: Pages) -> None:
    live(timed, {"interval": "60"})
    first = next_at(timed)
    assert first is not None
    assert timedelta(0) < first - datetime.now(UTC) <= timedelta(hours=1)
    listed = timed.client.get(f"/projects/{timed.automation.project_id}/automations/").text
    assert "Next<relative-time" in compact(listed)

    timed.post("deactivate/")
    assert next_at(timed) is None

    timed.post("activate/", {"anyway": "1"})
    assert next_at(timed) is not None
    timed.automation.delete()
    assert next_at(timed) is None


def test_what_is_due_stays_due_when_something_else_of_the_automation_changes(timed: Pages) -> None:
    live(timed, DAILY)
    due = timezone.now() - timedelta(minutes=5)
    Schedule.objects.update(next_at=due)

    timed.automation.change(name="Renamed")
    definition = timed.automation.definition
    definition.steps[0].title = "Changed"
    timed.automation.save_draft(definition, rev=timed.automation.draft_rev)
    timed.automation.activate(None)

    assert next_at(timed) == due


def test_what_is_due_stays_due_when_something_else_changes_where_the_rule_cannot_be_read(timed: Pages) -> None:
    live(timed, DAILY)
    due = next_at(timed)
    version = timed.automation.live_version
    assert version is not None
    version.definition["trigger"]["config"]["of_a_later_release"] = True
    version.save()

    timed.automation.change(name="Renamed")

    assert next_at(timed) == due
    timed.automation.deactivate()
    assert next_at(timed) is None


def test_a_published_change_of_the_schedule_counts_from_now(timed: Pages) -> None:
    live(timed, DAILY)
    Schedule.objects.update(next_at=timezone.now() - timedelta(minutes=5))

    live(timed, YEARLY)

    after = next_at(timed)
    assert after is not None
    assert (after.month, after.day) == (1, 1)


def test_a_saved_draft_leaves_the_live_schedule_alone(timed: Pages) -> None:
    live(timed, DAILY)
    before = next_at(timed)

    save(timed, YEARLY)

    assert next_at(timed) == before


def test_a_replaced_schedule_fires_no_more(timed: Pages) -> None:
    live(timed, DAILY)
    old = timed.automation.trigger

    timed.post("trigger/replace/", {"event": "http.request"})

    assert Trigger.objects.get(pk=old.pk if old else "").replaced_at is not None
    assert next_at(timed) is None


def test_a_test_gives_what_the_next_fire_time_would(timed: Pages) -> None:
    save(timed, {**DAILY, "metadata": '{"region": "eu"}'})

    assert timed.post("trigger/test/").status_code == 302

    given = json.loads(timed.automation.step_tests.get(step_key="trigger").output)
    assert given["metadata"] == {"region": "eu"}
    assert "T09:30:00+0" in given["scheduled_at"]
    assert "This would start an execution." in timed.get("trigger/")


def test_a_test_says_why_not_when_the_settings_are_unfinished(timed: Pages) -> None:
    answer = timed.post("trigger/test/")

    assert answer.status_code == 422
    assert "Every is empty: write the number of minutes." in answer.content.decode()


def test_another_kind_of_trigger_can_be_chosen_and_replaces_the_one_in_use(timed: Pages) -> None:
    page = timed.get("trigger/?choose")

    assert 'value="http.request"' in page
    assert "trigger/replace/" in page


def test_a_trigger_of_another_kind_starts_nothing_until_it_is_published(timed: Pages) -> None:
    live(timed, DAILY)

    timed.post("trigger/replace/", {"event": "http.request"})

    new = timed.automation.trigger
    found = read_trigger(new.uid if new else "")
    assert found is not None
    assert not found.is_active

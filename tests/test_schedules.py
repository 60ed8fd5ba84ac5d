"""Schedules over real clusters: to the second, once a fire time, and what becomes of missed ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from executions.states import Lane
from tests.support.automations import TRANSFORM
from tests.support.installation import Installation
from tests.support.processes import until

MAKE = """
import json
from automations.definition import Definition
from automations.models import Automation
from projects.models import Organization, Project
organization, _ = Organization.objects.get_or_create(name="Tested")
project, _ = Project.objects.get_or_create(name="Tested", organization=organization)
automation = Automation.objects.create(name="Timed", project=project, organization=organization)
trigger, _ = automation.make_trigger("schedule", "fires")
part = {"uid": trigger.uid, "connector": "schedule", "event": "fires", **json.loads(%r)}
automation.save_draft(Definition.model_validate({"trigger": part, "steps": json.loads(%r)}), rev=automation.draft_rev)
automation.activate(None)
print(trigger.uid)
"""
STEP = {**TRANSFORM, "input": {"fields": {"region": "{{ trigger.metadata.region }}"}}}
HOURLY = {"unit": "hours", "interval": 1, "minute": 0, "metadata": {"region": "eu"}}
EVERY_MINUTE = {"unit": "minutes", "interval": 1, "metadata": {"region": "eu"}}


class Timed:
    """A live automation that a schedule starts."""

    def __init__(self, installation: Installation, config: dict[str, Any], **part: Any) -> None:
        self.installation = installation
        made = installation.shell(MAKE % (json.dumps({"config": config, **part}), json.dumps([STEP])))
        self.uid = made.split()[-1]

    def set_next(self, at: datetime) -> None:
        self.installation.query(
            "UPDATE automations_schedule SET next_at = %s WHERE trigger_id = %s",
            [at.replace(tzinfo=None).isoformat(" ") if self.is_sqlite else at, self.uid],
        )

    @property
    def is_sqlite(self) -> bool:
        return self.installation.backend == "sqlite"

    @property
    def next_at(self) -> datetime | None:
        rows = self.installation.query("SELECT next_at FROM automations_schedule WHERE trigger_id = %s", [self.uid])
        return moment(rows[0]["next_at"]) if rows else None

    @property
    def executions(self) -> list[dict[str, Any]]:
        return self.installation.query("SELECT * FROM executions_execution ORDER BY id")

    @property
    def payloads(self) -> list[dict[str, Any]]:
        rows = self.installation.query("SELECT input FROM executions_steprun WHERE attempt = 0 ORDER BY execution_id")
        return [json.loads(row["input"]) for row in rows]

    @property
    def receipts(self) -> list[str]:
        return [row["code"] for row in self.installation.query("SELECT code FROM executions_receipt ORDER BY id")]

    def caught_up(self) -> bool:
        return self.next_at is None or self.next_at > datetime.now(UTC)


def moment(value: Any) -> datetime:
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def full_minute(*, ago: int = 0) -> datetime:
    """Return a whole minute, of which no new one begins while a test looks at it."""
    if datetime.now(UTC).second > 50:
        until(lambda: datetime.now(UTC).second < 50, within=11, what="the next minute")
    return datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=ago)


def test_an_execution_starts_to_the_second_with_the_schedules_output(cluster: Installation) -> None:
    timed = Timed(cluster, HOURLY)
    at = (datetime.now(UTC) + timedelta(seconds=4)).replace(microsecond=0)

    timed.set_next(at)

    until(lambda: len(timed.executions) == 1, within=15, what="an execution")
    payload = timed.payloads[0]
    late = datetime.fromisoformat(payload["fired_at"]) - at
    assert timedelta(0) <= late < timedelta(seconds=1)
    assert payload["scheduled_at"] == at.isoformat()
    assert (payload["time_zone"], payload["metadata"]) == ("Etc/UTC", {"region": "eu"})
    until(lambda: timed.executions[0]["status"] == 3, what="Success")
    assert timed.next_at is not None and timed.next_at > at and timed.next_at.minute == 0


def test_one_execution_a_fire_time_when_two_clusters_race(cluster: Installation) -> None:
    second = cluster.start_another_cluster()
    try:
        timed = Timed(cluster, HOURLY)
        for count in range(1, 6):
            timed.set_next(datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1, milliseconds=count))
            until(lambda count=count: len(timed.executions) >= count, within=10, what=f"execution {count}")  # type: ignore[misc]
    finally:
        second.end()
        cluster.stop()  # what either still had in mind is done

    assert len(timed.executions) == 5
    assert len({payload["fired_at"] for payload in timed.payloads}) == 5


def test_a_fire_time_that_has_made_an_execution_makes_no_other(cluster: Installation) -> None:
    timed = Timed(cluster, HOURLY)
    at = datetime.now(UTC).replace(microsecond=0)
    timed.set_next(at)
    until(lambda: len(timed.executions) == 1, within=10)

    timed.set_next(at)

    until(timed.caught_up, within=10)
    assert len(timed.executions) == 1


@pytest.mark.parametrize(("missed", "ages"), [("once", [0]), ("all", [4, 3, 2, 1, 0]), ("none", [0])])
def test_missed_fire_times_follow_the_rule_when_the_cluster_was_down(
    installation: Installation, missed: str, ages: list[int]
) -> None:
    timed = Timed(installation, {**EVERY_MINUTE, "missed": missed})
    last = full_minute()
    timed.set_next(last - timedelta(minutes=4))

    installation.start_cluster()

    until(timed.caught_up, within=10, what="caught up")
    wanted = [(last - timedelta(minutes=age)).isoformat() for age in ages]
    assert [payload["scheduled_at"] for payload in timed.payloads][: len(wanted)] == wanted
    assert timed.receipts == ["missed"]


def test_all_missed_fire_times_are_the_latest_hundred(installation: Installation) -> None:
    timed = Timed(installation, {**EVERY_MINUTE, "missed": "all"})
    timed.set_next(full_minute(ago=60 * 24 * 400))

    installation.start_cluster()

    until(timed.caught_up, within=20, what="caught up")
    assert len(timed.executions) == 100


def test_a_fire_time_over_the_hard_limit_leaves_a_receipt(cluster: Installation) -> None:
    timed = Timed(cluster, HOURLY)
    cluster.query("UPDATE projects_organization SET hard_limit = 0")

    timed.set_next(datetime.now(UTC).replace(microsecond=0))

    until(timed.caught_up, within=10)
    assert timed.executions == []
    assert timed.receipts == ["hard_limit"]


def test_conditions_hold_for_a_schedule_too(cluster: Installation) -> None:
    never = {"all": [{"path": "trigger.metadata.region", "op": "equals", "value": "us"}]}
    timed = Timed(cluster, HOURLY, conditions=never)

    timed.set_next(datetime.now(UTC).replace(microsecond=0))

    until(timed.caught_up, within=10)
    assert timed.executions == []
    assert timed.receipts == ["conditions_not_met"]


def test_a_throttled_automation_waits_in_the_throttled_lane(cluster: Installation) -> None:
    timed = Timed(cluster, HOURLY)
    cluster.query("UPDATE projects_organization SET throttle_rate = 0.01")
    cluster.query("UPDATE automations_automation SET is_throttled = %s, live_rev = live_rev + 1", [True])
    past = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=9)
    for count in (1, 2):
        timed.set_next(past + timedelta(seconds=count))
        until(lambda count=count: len(timed.executions) == count, within=10)  # type: ignore[misc]

    assert timed.executions[1]["lane"] == Lane.THROTTLED


def test_a_deactivated_schedule_fires_no_more(cluster: Installation) -> None:
    timed = Timed(cluster, HOURLY)
    deactivate = "from automations.models import Automation; Automation.objects.get(name='Timed').deactivate()"
    cluster.shell(deactivate)

    assert timed.next_at is None


def test_a_schedule_has_no_trigger_url(server: Installation) -> None:
    timed = Timed(server, HOURLY)

    assert server.get(f"/automations-api/run/{timed.uid}")[0] == 404

"""Schedules over real clusters: to the second, once a fire time, and what becomes of missed ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from executions.states import Lane
from harness.automations import TRANSFORM, make
from harness.databases import Row
from harness.installation import Installation, copy_of
from harness.processes import until

SET_UNIT = """
from automations.models import Version
version = Version.objects.get(automation__triggers__uid=%r)
version.definition["trigger"]["config"]["unit"] = %r
version.save()
"""
STEP = {**TRANSFORM, "input": {"fields": {"region": "{{ trigger.metadata.region }}"}}}
HOURLY = {"unit": "hours", "interval": 1, "minute": 0, "metadata": {"region": "eu"}}
EVERY_MINUTE = {"unit": "minutes", "interval": 1, "metadata": {"region": "eu"}}


class Timed:
    """A live automation that a schedule starts, in an organization of its own."""

    def __init__(self, installation: Installation, config: dict[str, Any], **part: Any) -> None:
        self.installation = installation
        trigger = {"connector": "schedule", "event": "fires", "config": config, **part}
        self.made = make(installation, {"Timed": [STEP]}, trigger=trigger)
        self.organization, self.uid = self.made.organization, self.made.triggers["Timed"]

    def set_next(self, at: datetime) -> None:
        self.installation.query(
            "UPDATE automations_schedule SET next_at = %s WHERE trigger_id = %s",
            [at.replace(tzinfo=None).isoformat(" ") if self.is_sqlite else at, self.uid],
        )

    def set_organization(self, column: str, value: Any) -> None:
        sql = f"UPDATE projects_organization SET {column} = %s WHERE uid = %s"
        self.installation.query(sql, [value, self.organization])

    def throttle(self) -> None:
        sql = "UPDATE automations_automation SET is_throttled = %s, live_rev = live_rev + 1 WHERE organization_id = %s"
        self.installation.query(sql, [True, self.organization])

    def deactivate(self) -> None:
        self.installation.call("harness.factory.deactivate", str(self.made.automations["Timed"]))

    def set_unit(self, unit: str) -> None:
        """Write another unit into the live rule, even one that only a later release knows."""
        self.installation.python(SET_UNIT % (self.uid, unit))

    def select(self, what: str, table: str, where: str = "1 = 1", order: str = "1") -> list[Row]:
        sql = f"SELECT {what} FROM {table} WHERE organization_id = %s AND {where} ORDER BY {order}"
        return self.installation.query(sql, [self.organization])

    @property
    def is_sqlite(self) -> bool:
        return self.installation.backend == "sqlite"

    @property
    def next_at(self) -> datetime | None:
        rows = self.installation.query("SELECT next_at FROM automations_schedule WHERE trigger_id = %s", [self.uid])
        return moment(rows[0]["next_at"]) if rows else None

    @property
    def executions(self) -> list[Row]:
        return self.select("*", "executions_execution", order="id")

    @property
    def payloads(self) -> list[dict[str, Any]]:
        rows = self.select("input", "executions_steprun", "attempt = 0", order="execution_id")
        return [json.loads(row["input"]) for row in rows]

    @property
    def receipts(self) -> list[str]:
        return [row["code"] for row in self.select("code", "executions_receipt", order="id")]

    def caught_up(self) -> bool:
        return self.next_at is None or self.next_at > datetime.now(UTC)


type MakeTimed = Callable[..., Timed]


@pytest.fixture
def make_timed(product: Installation) -> Iterator[MakeTimed]:
    """Return a function that makes a live schedule in the shared product; it fires no more after the test."""
    made: list[Timed] = []

    def make(config: dict[str, Any], **part: Any) -> Timed:
        made.append(Timed(product, config, **part))
        return made[-1]

    yield make
    for timed in made:
        product.query("DELETE FROM automations_schedule WHERE trigger_id = %s", [timed.uid])


def moment(value: Any) -> datetime:
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def full_minute() -> datetime:
    """Return a whole minute, of which no new one begins while a test looks at it."""
    if datetime.now(UTC).second > 42:
        until(lambda: datetime.now(UTC).second < 42, within=19, what="the next minute")
    return datetime.now(UTC).replace(second=0, microsecond=0)


def test_an_execution_starts_to_the_second_with_the_schedules_output(make_timed: MakeTimed) -> None:
    timed = make_timed(HOURLY)
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


def test_a_fire_time_that_has_made_an_execution_makes_no_other(make_timed: MakeTimed) -> None:
    timed = make_timed(HOURLY)
    at = datetime.now(UTC).replace(microsecond=0)
    timed.set_next(at)
    until(lambda: len(timed.executions) == 1, within=10)

    timed.set_next(at)

    until(timed.caught_up, within=10)
    assert len(timed.executions) == 1


@dataclass(frozen=True)
class Missed:
    """Schedules that missed fire times while their cluster was down; it has caught up since."""

    last: datetime
    by_rule: dict[str, Timed]
    for_months: Timed


@pytest.fixture(scope="module")
def missed(template: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Missed]:
    with copy_of(template, tmp_path_factory.mktemp("missed")) as copy:
        by_rule = {rule: Timed(copy, {**EVERY_MINUTE, "missed": rule}) for rule in ("once", "all", "none")}
        for_months = Timed(copy, {**EVERY_MINUTE, "missed": "all"})
        last = full_minute()
        for timed in by_rule.values():
            timed.set_next(last - timedelta(minutes=4))
        for_months.set_next(last - timedelta(days=400))

        copy.start_cluster()

        for timed in (*by_rule.values(), for_months):
            until(timed.caught_up, within=20, what="caught up")
        copy.stop()  # before another minute begins
        yield Missed(last, by_rule, for_months)


@pytest.mark.parametrize(("rule", "ages"), [("once", [0]), ("all", [4, 3, 2, 1, 0]), ("none", [0])])
def test_missed_fire_times_follow_the_rule_when_the_cluster_was_down(
    missed: Missed, rule: str, ages: list[int]
) -> None:
    timed = missed.by_rule[rule]

    wanted = [(missed.last - timedelta(minutes=age)).isoformat() for age in ages]
    assert [payload["scheduled_at"] for payload in timed.payloads] == wanted
    assert timed.receipts == ["missed"]


def test_all_missed_fire_times_are_the_latest_hundred(missed: Missed) -> None:
    assert len(missed.for_months.executions) == 100


def test_a_fire_time_over_the_hard_limit_leaves_a_receipt(make_timed: MakeTimed) -> None:
    timed = make_timed(HOURLY)
    timed.set_organization("hard_limit", 0)

    timed.set_next(datetime.now(UTC).replace(microsecond=0))

    until(timed.caught_up, within=10)
    assert timed.executions == []
    assert timed.receipts == ["hard_limit"]


def test_conditions_hold_for_a_schedule_too(make_timed: MakeTimed) -> None:
    never = {"all": [{"path": "trigger.metadata.region", "op": "equals", "value": "us"}]}
    timed = make_timed(HOURLY, conditions=never)

    timed.set_next(datetime.now(UTC).replace(microsecond=0))

    until(timed.caught_up, within=10)
    assert timed.executions == []
    assert timed.receipts == ["conditions_not_met"]


def test_a_throttled_automation_waits_in_the_throttled_lane(make_timed: MakeTimed) -> None:
    timed = make_timed(HOURLY)
    timed.set_organization("throttle_rate", 0.01)
    timed.throttle()
    past = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=9)
    for count in (1, 2):
        timed.set_next(past + timedelta(seconds=count))
        until(lambda count=count: len(timed.executions) == count, within=10)  # type: ignore[misc]

    assert timed.executions[1]["lane"] == Lane.THROTTLED


def test_a_schedule_that_one_engine_cannot_read_stays_due_for_another_that_can(cluster: Installation) -> None:
    timed = Timed(cluster, HOURLY)
    timed.set_unit("fortnights")
    at = datetime.now(UTC).replace(microsecond=0)
    timed.set_next(at)
    until(lambda: f"schedule {timed.uid} " in cluster.logs(), within=10, what="that it cannot be read")
    assert timed.next_at == at
    timed.set_unit("hours")

    second = cluster.start_another_cluster()
    try:
        until(lambda: len(timed.executions) == 1, within=10, what="an execution")
    finally:
        second.end()

    assert timed.payloads[0]["scheduled_at"] == at.isoformat()


def test_a_deactivated_schedule_fires_no_more(make_timed: MakeTimed) -> None:
    timed = make_timed(HOURLY)

    timed.deactivate()

    assert timed.next_at is None


def test_a_schedule_has_no_trigger_url(server: Installation) -> None:
    timed = Timed(server, HOURLY)

    assert server.get(f"/automations-api/run/{timed.uid}")[0] == 404

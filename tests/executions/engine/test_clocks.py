"""Clocks that are wrong, jump, or differ between machines: nothing waits for an hour, and nothing runs twice for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from executions.states import Status
from harness.automations import LONG_WAIT, TRANSFORM, WAIT, Made, make
from harness.clocks import DatabaseClock, HostClock
from harness.databases import PostgresqlDatabase
from harness.installation import Installation, copy_of
from harness.postgresql import Missing
from harness.processes import until
from projects.ids import made_at

HOUR = 3600
LONG = 40  # seconds, for a loaded machine
SOON = timedelta(seconds=90)  # a minute, and what a loaded machine adds
EVERY_MINUTE = {"connector": "schedule", "event": "fires", "config": {"unit": "minutes", "interval": 1}}
STEPS: dict[str, list[dict[str, Any]]] = {
    "direct": [TRANSFORM],
    "throttled": [TRANSFORM],
    "brief": [{**WAIT, "input": {"amount": 4}}],
    "long": [LONG_WAIT],
    "unfinished": [{"key": "todo"}],
}
ONCE = {"Idempotency-Key": "once"}
ELSEWHERE = 'from executions.models import Engine; Engine.objects.create(host="elsewhere", boot_id="another", pid=1)'
RETRY = "from executions.models import Execution; Execution.objects.get(pk=%r).retry(None)"


def host_clock(directory: Path, name: str = "clock", *, ahead_s: int = 0) -> HostClock:
    try:
        return HostClock(directory, name, ahead_s=ahead_s)
    except Missing as missing:
        pytest.skip(str(missing))


@dataclass
class Moved:
    """An installation whose database's clock the test moves; on SQLite that is the clock of its processes."""

    installation: Installation
    clock: HostClock | DatabaseClock
    ahead_s: int = 0

    def move(self, ahead_s: int) -> None:
        self.clock.move(ahead_s)
        self.ahead_s = ahead_s

    def engines(self) -> set[Any]:
        return {row["id"] for row in self.installation.query("SELECT id FROM executions_engine")}

    def in_future(self, value: Any) -> timedelta:
        """Return how far a moment of the database lies ahead of its clock."""
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return timedelta(seconds=(at - datetime.now(UTC)).total_seconds() - self.ahead_s)

    def next_fire_in(self, made: Made) -> timedelta:
        sql = "SELECT next_at FROM automations_schedule WHERE trigger_id = %s"
        return self.in_future(self.installation.query(sql, [made.triggers["timed"]])[0]["next_at"])


@pytest.fixture
def moved(installation: Installation) -> Moved:
    """Return an installation with web server and cluster; its clock is right so far."""
    if isinstance(installation.database, PostgresqlDatabase):
        clock: HostClock | DatabaseClock = DatabaseClock(installation.database)
    else:
        clock = host_clock(installation.directory)
        installation.settings |= clock.environment
    installation.start()
    return Moved(installation, clock)


def test_a_clock_set_back_by_an_hour_makes_nothing_wait_for_it(moved: Moved) -> None:
    made = make(moved.installation, STEPS, throttle_rate=1.0, direct_limit=2)
    made.change("throttled", "is_throttled", True)
    timed = make(moved.installation, {"timed": [TRANSFORM]}, trigger=EVERY_MINUTE)
    engines = moved.engines()
    made.wait(made.start("throttled"))
    brief, long = made.start("brief"), made.start("long")
    made.wait(long, Status.PAUSED)
    postponed = made.start("direct")
    first = made.post("throttled", headers=ONCE)[1]["execution_id"]
    moved.installation.python(ELSEWHERE)

    moved.move(-HOUR)

    later = made.start("throttled")
    if isinstance(moved.clock, HostClock):  # the host's clock gives the id its time
        assert abs(moved.in_future(made_at(later))) < SOON
    assert made.wait(later)["status"] == Status.SUCCESS
    assert made.wait(brief, within=60)["status"] == Status.SUCCESS
    until(lambda: moved.in_future(made.read(long)["run_at"]) < timedelta(hours=1), within=LONG, what="the pause moved")
    assert moved.in_future(made.read(postponed)["run_at"]) < SOON
    assert moved.in_future(made.read(made.start("direct"))["run_at"]) < 3 * SOON
    until(lambda: timedelta(0) < moved.next_fire_in(timed) < SOON, within=LONG, what="the schedule fires soon")
    assert made.post("throttled", headers=ONCE)[1]["execution_id"] == first
    until(lambda: moved.engines() == engines, within=LONG, what="the engine that has died is buried, and no other")


def test_a_clock_that_goes_an_hour_forward_and_back_fires_no_time_twice(moved: Moved) -> None:
    made = make(moved.installation, STEPS, throttle_rate=1.0)
    made.change("throttled", "is_throttled", True)
    timed = make(moved.installation, {"timed": [TRANSFORM]}, trigger=EVERY_MINUTE)
    engines = moved.engines()
    made.wait(made.start("throttled"))
    first = made.post("throttled", headers=ONCE)[1]["execution_id"]

    moved.move(HOUR)

    until(lambda: timed.executions >= 1, within=LONG, what="the missed fire times have an execution")
    assert made.wait(made.start("throttled"))["status"] == Status.SUCCESS
    assert made.post("throttled", headers=ONCE)[1]["execution_id"] == first
    made.wait(made.start("long"), Status.PAUSED)
    assert moved.engines() == engines

    moved.move(0)

    assert made.wait(made.start("throttled"))["status"] == Status.SUCCESS
    until(lambda: timedelta(0) < moved.next_fire_in(timed) < SOON, within=LONG, what="the schedule fires soon")
    until(lambda: made.counted == 4, within=LONG, what="each ended execution has counted once")
    inputs = timed.select("input", "executions_steprun", "attempt = 0")
    fire_times = [json.loads(row["input"])["scheduled_at"] for row in inputs]
    assert len(fire_times) == len(set(fire_times)) < 10
    assert moved.engines() == engines


@pytest.mark.parametrize(("web_s", "cluster_s"), [(HOUR, -HOUR), (-HOUR, HOUR), (5, -5)])
def test_hosts_need_not_agree_on_the_time(
    prepared_on_postgresql: Installation, tmp_path: Path, web_s: int, cluster_s: int
) -> None:
    web, cluster = (host_clock(tmp_path, name, ahead_s=s) for name, s in (("web", web_s), ("cluster", cluster_s)))
    with copy_of(prepared_on_postgresql, tmp_path) as installation:
        installation.settings |= web.environment
        installation.start_web()
        installation.settings |= cluster.environment
        installation.start_cluster()
        made = make(installation, STEPS, duplicates_h=1, throttle_rate=1.0)
        made.change("throttled", "is_throttled", True)

        first = made.post("direct", headers=ONCE)[1]["execution_id"]
        ids = [made.start(name) for name in ("direct", "throttled", "brief", "throttled")]
        ends = made.wait(made.start("long"), Status.PAUSED)["run_at"]
        failed = made.start("unfinished")
        made.wait(failed, Status.FAILED)
        installation.python(RETRY % str(failed))

        assert timedelta(hours=1) - SOON < ends - datetime.now(UTC) < timedelta(hours=1)
        until(lambda: made.read(failed)["attempt"] == 2 and made.status(failed) == Status.FAILED, within=LONG)
        assert {made.wait(id, within=60)["status"] for id in ids} == {Status.SUCCESS}
        assert made.post("direct", headers=ONCE)[1]["execution_id"] == first
        until(lambda: made.counted == len(ids) + 2, within=LONG, what="each ended execution has counted once")
        assert installation.get("/readyz")[0] == 200

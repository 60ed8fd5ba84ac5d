"""A primary PostgreSQL with a synchronous standby: crashes, cut connections and a failover lose nothing accepted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executions.states import Status
from harness.automations import AUTOMATIONS, Made, make
from harness.databases import PostgresqlDatabase
from harness.installation import Installation, ended
from harness.postgresql import Missing
from harness.processes import until
from harness.standby import Pair, pair
from tests.support.cut import CutAtCommit
from tests.support.senders import Senders

CRASHES = 3
WAITS = "SELECT pid FROM pg_stat_activity WHERE wait_event_type IN ('IPC', 'Lock') AND backend_type = 'client backend'"


@pytest.fixture
def two() -> Iterator[Pair]:
    try:
        with pair(is_durable=False) as made:
            yield made
    except Missing as missing:
        pytest.skip(str(missing))


class ThrownAway(PostgresqlDatabase):
    """A database that goes with its servers: without the standby its primary would wait for ever to drop it."""

    def drop(self) -> None:
        pass


@pytest.fixture
def on_two(two: Pair, prepared_on_postgresql: Installation, tmp_path: Path) -> Iterator[Installation]:
    """Return an installation that knows both servers, nothing started."""
    database = ThrownAway(two.url)
    dumped = two.primary.output("pg_dump", prepared_on_postgresql.database.url)
    two.primary.output("psql", "-q", "-1", "-v", "ON_ERROR_STOP=1", database.url, given=dumped)
    installation = prepared_on_postgresql.copy(tmp_path, database)
    with ended(installation):
        yield installation


def waiting(two: Pair) -> set[Any]:
    """Return the sessions on the primary that wait for the standby or for one another."""
    return {row[0] for row in two.ask(WAITS)}


class Post(threading.Thread):
    """One request on its way."""

    def __init__(self, made: Made) -> None:
        super().__init__(daemon=True)
        self.made = made
        self.answer: tuple[int, Any] | None = None
        self.start()

    def run(self) -> None:
        self.answer = self.made.post("transform")

    def is_answered_truly(self) -> bool:
        """Return whether what is accepted is all that is stored; a slow machine may not know in time, and says so."""
        until(lambda: self.answer, within=60, what="an answer")
        status, answer = self.answer or (0, {})
        stored = [str(row["id"]) for row in self.made.select("id", "executions_execution")]
        if status == 504:
            return str(answer["error"]["code"]) == "in_doubt"
        return status == 202 and stored == [answer["execution_id"]]


def test_crashes_and_a_failover_under_load_lose_nothing_that_was_accepted(two: Pair, on_two: Installation) -> None:
    on_two.start()
    made = make(on_two, AUTOMATIONS)
    paused = made.start("wait")
    with Senders(made) as senders:
        for _ in range(CRASHES):
            senders.get_on()
            two.primary.stop()
            two.primary.start()
        senders.get_on()
        two.kill_primary()
        two.promote()
        senders.get_on()
    assert made.wait(paused)["status"] == Status.SUCCESS
    senders.check(others=[paused])
    assert on_two.why_not_ready() == ""


def test_a_commit_that_a_crash_has_cut_off_from_the_standby_is_not_accepted_before_the_standby_has_it(
    two: Pair, on_two: Installation
) -> None:
    on_two.start_web()
    made = make(on_two, AUTOMATIONS)
    two.standby.stop()
    post = Post(made)
    until(lambda: waiting(two), what="the commit waits for the standby")

    two.primary.stop()
    two.primary.start()
    until(lambda: post.answer or waiting(two), within=30, what="the web server has looked for what it has stored")
    two.kill_primary()
    two.standby.start()
    two.promote()

    assert post.is_answered_truly()


def test_a_commit_whose_connection_is_cut_while_it_waits_for_the_standby_is_answered_truly(
    two: Pair, on_two: Installation
) -> None:
    made = make(on_two, AUTOMATIONS)
    database = on_two.database
    assert isinstance(database, PostgresqlDatabase)
    place, marks = ("127.0.0.1", two.primary.port), b"INSERT INTO executions_execution"
    with CutAtCommit(*place, behind=marks) as way:
        own, database.url = database.url, f"postgresql://agentos@127.0.0.1:{way.port}/{database.name}"
        on_two.start_web()
        database.url = own
        two.standby.stop()
        post = Post(made)
        first = until(lambda: waiting(two), within=30, what="the commit waits for the standby")
        way.cut()
        until(lambda: post.answer or waiting(two) - first, within=30, what="another session waits for it")
        assert not post.answer

        two.standby.start()

        assert post.is_answered_truly()

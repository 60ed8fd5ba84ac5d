"""The chaos harness in short, on both databases: `python -m chaos` is the long form (docs/chaos.md)."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaos import leaks, plan, trial
from chaos.checker import Checker
from chaos.driver import Driver, Reply
from chaos.nemesis import Nemesis
from chaos.outside import owner_of
from chaos.scene import Scene, scene
from harness.installation import Installation
from harness.postgresql import Missing, binaries

ACCEPTED = 300
FAULTS = (
    "a step kills its worker",
    "kill -9 between effect and result",
    "kill -9 the web server",
    "Retry pressed by five",
    "kill -9 the cluster",
)
OF = {"sqlite": "another writer holds the file", "postgresql": "PostgreSQL crashes"}

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_promise_is_kept_when_everything_is_killed(database: str, prepared: Installation) -> None:
    if database == "postgresql":
        try:
            binaries()
        except Missing as missing:
            pytest.skip(str(missing))
    faults = (*FAULTS, OF[database])

    assert trial.run(database, trial.Trial(ACCEPTED, len(faults), seed=1, only=faults), say=print, prepared=prepared)


def tamper(built: Scene, driver: Driver) -> None:
    """Break one promise of each kind behind the product's back."""
    query = built.installation.query
    lines = [json.loads(line) for line in built.effects.read_text().splitlines()]
    stuck, changed, leaky, wrong, *_, lost = dict.fromkeys(uuid.UUID(owner_of(line["key"])) for line in lines)
    query("UPDATE executions_execution SET status = 1 WHERE id = %s", [stuck])
    query("UPDATE executions_steprun SET input = replace(input, 'ada', 'eve') WHERE execution_id = %s", [changed])
    query("UPDATE executions_steprun SET error = %s WHERE execution_id = %s", [plan.CANARY, leaky])
    query("UPDATE executions_execution SET reason = %s WHERE id = %s", [plan.CANARY, leaky])
    query("UPDATE executions_payload SET body = %s", [plan.CANARY])
    query("UPDATE executions_receipt SET reason = %s", [plan.CANARY])
    query("UPDATE executions_receiptday SET count = count + 1")
    query("UPDATE executions_execution SET reason_code = 'http_500' WHERE id = %s", [wrong])
    query("DELETE FROM executions_execution WHERE id = %s", [lost])
    query("UPDATE projects_usageday SET count = count + 1")
    query("UPDATE executions_steprun SET position = -position")
    again = next(line for line in lines if "-call-" in line["key"])  # of a never-repeat step
    once_more = next(line for line in lines if "-first-" in line["key"])  # of a step that may be repeated, by a claim
    with built.effects.open("a") as effects:
        effects.writelines(json.dumps(line) + "\n" for line in (again, once_more))
    unhurt = uuid.UUID(owner_of(next(line for line in reversed(lines) if "-call-" in line["key"])["key"]))
    query("UPDATE executions_execution SET status = 4, reason_code = 'interrupted' WHERE id = %s", [unhurt])
    refused, away, denied, *_ = (post for post in driver.posts if post.kind == "chain")  # not lost, not by the clock
    refused.replies = [Reply(429, "", time.time())]
    away.replies = [Reply(503, "", time.time())]
    accepted = denied.replies[-1]
    denied.replies = [Reply(503, "", accepted.at, sent=accepted.sent), replace(accepted, sent=accepted.at)]


def leave_an_engine_without_a_process(built: Scene) -> None:
    """End the cluster first: its engines would remove the row of one that is silent."""
    assert built.installation.cluster
    built.installation.cluster.end()
    built.installation.query(
        "INSERT INTO executions_engine (id, host, boot_id, pid, started_at, beat_at, running, rss_kb, is_stopping)"
        " VALUES (%s, 'elsewhere', '', 4194305, '2026-01-01', '2026-01-01', 0, 0, 0)",
        [uuid.uuid4()],
    )


@contextmanager
def stray(directory: Path) -> Iterator[None]:
    """Run a process of the installation that belongs to nobody."""
    process = subprocess.Popen(["sleep", "60"], env={"DATA_DIR": str(directory)}, start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def tamper_with_the_clock(built: Scene, nemesis: Nemesis) -> None:
    """Have three executions look like the schedule's: two of a time when no cluster ran, and one of no full minute."""
    last_minute = time.time() // 60 * 60 - 180
    rows = built.installation.query("SELECT execution_id FROM executions_steprun WHERE input LIKE '%\"transform\"%'")
    for row, at in zip(rows, (last_minute, last_minute, last_minute + 30), strict=False):
        payload = json.dumps({"scheduled_at": datetime.fromtimestamp(at, UTC).isoformat()})
        sql = "UPDATE executions_steprun SET input = %s WHERE execution_id = %s AND attempt = 0"
        built.installation.query(sql, [payload, row["execution_id"]])
        built.installation.query("UPDATE executions_execution SET status = 4 WHERE id = %s", [row["execution_id"]])
    built.schedule_start = last_minute - 90
    nemesis.absences.append((last_minute - 10, last_minute + 130))


def test_the_checker_sees_each_broken_promise(tmp_path: Path, prepared: Installation) -> None:
    with scene("sqlite", tmp_path, prepared) as built:
        driver = Driver(built, 40)
        driver.start()
        driver.reach(40)
        driver.post("transform", key="twice", times=2)  # leaves a receipt
        trial.settle(built)
        nemesis = Nemesis(built, driver, 1, print)
        tamper(built, driver)
        tamper_with_the_clock(built, nemesis)
        nemesis.bursts.append((0, 0))
        nemesis.wrong("I16 seen by a fault", "it")
        nemesis.outages.append((time.time() - 60, time.time() - 45))

        checker = Checker(built, driver, nemesis)
        one, other = [str(ended.id) for ended in checker.ended[:2]]
        nemesis.pressed |= {one: [[409, 409], [500]], other: [[202, 202], [202]]}
        found = checker.check()
        leave_an_engine_without_a_process(built)
        with stray(built.installation.directory):
            leaks.check(built, leaks.Usage.of(built), nemesis, found)

    assert set(found.violations) >= {
        "I1 lost", "I2 refused, and stored all the same", "I2 answered 5xx, and stored by that request",
        "I3 stuck", "I3 ended otherwise than it must",
        "I4 effect of no execution", "I4 a never-repeat step was repeated",
        "I4 more calls of a step than claims of its execution", "I4 interrupted, and no death explains it",
        "I5 usage", "I5 reservation",
        "I6 payload changed", "I6 steps out of order or missing", "I7 an error without a fault that explains it",
        "I7 503 that does not say when to come again", "I11 nobody was refused while the database was away",
        "I11 no kill came after a commit", "I11 no kill came before a commit",
        "I10 another number of retries than was answered", "I10 no press was accepted",
        "I10 more than two presses were accepted", "I10 a retry is left although all was pressed",
        "I10 a press was answered otherwise",
        "I8 receipts of executions", "I8 received is not the sum of what became of it",
        "I8 an engine's row without its process", "I8 a process of neither web server nor cluster",
        "I8 a process without a parent",
        "I8 a secret in the clear", "I9 fired twice", "I9 fired at no time of its own", "I9 a minute is missing",
        "I9 made up for more than the latest fire time", "I9 a scheduled execution has not ended well",
        "I16 seen by a fault",
    }  # fmt: skip
    assert {what.partition(" ")[0] for what in found.violations["I8 a secret in the clear"]} >= {
        "executions_steprun.error", "executions_execution.reason", "executions_payload.body",
        "executions_receipt.reason",
    }  # fmt: skip

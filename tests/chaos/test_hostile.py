"""A hostile organization beside a well-behaved one, in short: `python -m chaos` is the long form (docs/chaos.md)."""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path

import pytest

from chaos import neighbourhood, trial
from chaos.checker import Checker
from chaos.driver import Driver
from chaos.hostile.arsenal import ATTACKS
from chaos.neighbour import Sample
from chaos.nemesis import Nemesis
from chaos.scene import scene
from chaos.siege import Hostility, Siege
from chaos.watch import SWEPT_S, Watch
from executions.states import Status
from harness.installation import Installation
from harness.postgresql import Missing, binaries

ACCEPTED, SECONDS, TURN_S = 150, 60.0, 4.0
FAULTS = ("kill -9 a worker",)

pytestmark = pytest.mark.cluster


@pytest.mark.skipif(
    "HOSTILE_TRIAL" not in os.environ,
    reason="takes the machine for itself: HOSTILE_TRIAL=1 runs it, and `make chaos` the long one",
)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_nobody_feels_a_hostile_neighbour(database: str, prepared: Installation) -> None:
    if database == "postgresql":
        try:
            binaries()
        except Missing as missing:
            pytest.skip(str(missing))
    attacked = trial.Trial(
        ACCEPTED, len(FAULTS), seed=1, only=FAULTS, seconds=SECONDS, hostility=Hostility(tuple(ATTACKS), turn_s=TURN_S)
    )

    assert trial.run(database, attacked, say=print, prepared=prepared)


def late(stream: str, number: int = 0, *, status: int = 0, took: float = 30.0) -> Sample:
    return Sample(
        stream=stream, number=number, at=time.time(), took=took, status=status, execution_id="", retry_after=""
    )  # fmt: skip


def test_the_checker_sees_each_harm_to_a_neighbour(tmp_path: Path, prepared: Installation) -> None:
    with scene("sqlite", tmp_path, prepared) as built:
        driver, nemesis = Driver(built, 1), Nemesis(built, None, 1, print)  # type: ignore[arg-type]
        with Watch(built) as watch:
            lost, doubled = driver.post("mail"), driver.post("mail")
            trial.settle(built)
            kept = built.mails.read_text().splitlines()
            lines = [line for line in kept if json.loads(line)["number"] != lost.number]
            built.mails.write_text("\n".join([*lines, *lines, '{"number": 77}']) + "\n")
            assert built.installation.cluster
            built.installation.cluster.kill()
            built.installation.query("DELETE FROM executions_engine")
            built.installation.query(
                "UPDATE executions_execution SET status = %s, engine_id = %s WHERE id = %s",
                [Status.RUNNING, uuid.uuid4(), uuid.UUID(doubled.replies[0].execution_id)],
            )
            watch.look_for_ownerless(0.0)
            watch.look_for_ownerless(SWEPT_S + 1)
            time.sleep(2.5)
        siege = Siege(built, Hostility(()), 1)
        siege.samples = [*[late("health", status=200)] * 9, late("log page"), late("sign-in", status=302, took=0.1)]
        siege.turns = [{"attack": "none", "error": "OSError: x"}]
        siege.loot = ["/echo"]
        checker = Checker(built, driver, nemesis, watch)
        checker.lives()
        neighbourhood.check(siege, checker.ended, nemesis, checker.found)

    found = checker.found.violations
    assert found["I13 Success without its e-mail"][0].startswith(f"number {lost.number} ")
    assert found["I13 an e-mail left twice"] == [f"number {doubled.number}"]
    assert found["I13 an e-mail of no execution"] == ["77"]
    assert len(found["I12 an engine or a process ended, and no fault explains it"]) == 2
    assert list(found) == [
        "I12 an engine or a process ended, and no fault explains it", "I3 ran for nobody",
        "I13 an e-mail of no execution", "I13 an e-mail left twice", "I13 Success without its e-mail",
        "I14 a page was not served", "I14 health of the neighbour took too long",
        "I15 a stolen secret came back in the clear",
        "the attackers' own fault",
    ]  # fmt: skip

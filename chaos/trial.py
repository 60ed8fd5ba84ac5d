"""One run: traffic, faults spread over it, a calm end, time to settle, and the verdict."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaos import leaks
from chaos.checker import Checker
from chaos.driver import Driver
from chaos.findings import Findings
from chaos.nemesis import AFTERMATH_S, Nemesis
from chaos.scene import Scene, scene
from executions.states import FINAL
from harness.installation import Installation
from harness.processes import until

SETTLE_S = 90.0  # seconds for a lease, a sweep and the longest step on a busy machine
FAULT_S = 4.0  # seconds for which the traffic of one fault lasts
QUIET_SHARE = 10  # the first and the last tenth of the traffic meet no fault


@dataclass(frozen=True, slots=True)
class Trial:
    accepted: int
    faults: int
    seed: int = 0
    only: tuple[str, ...] = ()  # faults by name, in turn, instead of those that the seed gives
    is_long: bool = False  # with the faults that take a minute


def run(database: str, trial: Trial, *, say: Callable[[str], None], prepared: Installation | None = None) -> bool:
    """Run on one database; print the findings and return whether every promise was kept."""
    directory = Path(tempfile.mkdtemp(prefix=f"agentos-chaos-{database}-"))
    directory.chmod(0o755)
    say(f"{database}: {trial.accepted} accepted, {trial.faults} faults, seed {trial.seed}, evidence in {directory}")
    with scene(database, directory, prepared) as built:
        findings = attack(built, trial, say)
    say("\n".join(findings.lines()) or "  every promise was kept")
    if not findings.violations:
        shutil.rmtree(directory)
    return not findings.violations


def attack(built: Scene, trial: Trial, say: Callable[[str], None]) -> Findings:
    driver = Driver(built, trial.accepted)
    nemesis = Nemesis(built, driver, trial.seed, lambda text: say("  " + text), is_long=trial.is_long, only=trial.only)
    driver.start()
    quiet = trial.accepted // QUIET_SHARE
    driver.reach(quiet)
    before = leaks.Usage.of(built)
    share = (trial.accepted - 2 * quiet) / trial.faults
    driver.rate = share / FAULT_S
    try:
        for number in range(1, trial.faults + 1):
            driver.allow(quiet + int(number * share))
            nemesis.strike()
            driver.reach(quiet + int(number * share))
        time.sleep(AFTERMATH_S)
        driver.reach(trial.accepted)
        built.stop_schedule()
        took = settle(built)
    finally:
        driver.write(built.directory / "posts.jsonl")
    checker = Checker(built, driver, nemesis)
    findings = checker.check()
    leaks.check(built, before, nemesis, findings)
    table(findings, nemesis, took, say)
    return findings


def settle(built: Scene) -> float:
    """Wait until no execution is open, at most SETTLE_S; return the seconds waited."""
    start = time.monotonic()
    final = ", ".join(str(int(status)) for status in FINAL)
    sql = f"SELECT COUNT(*) AS n FROM executions_execution WHERE status NOT IN ({final})"
    try:
        until(lambda: built.installation.query(sql)[0]["n"] == 0, within=SETTLE_S, every=0.2)
    except AssertionError:
        pass  # the checker names the stuck executions
    return time.monotonic() - start


def table(findings: Findings, nemesis: Nemesis, took: float, say: Callable[[str], None]) -> None:
    faults = Counter(window.fault for window in nemesis.windows)
    lines = [f"  {'settled after the last accept':44}{took:8.1f} s"]
    lines += [f"  {name:44}{count:8}" for name, count in sorted(faults.items())]
    lines += [f"  {name:44}{count:8}" for name, count in findings.figures.items()]
    say("\n".join(lines))

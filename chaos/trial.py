"""One run: traffic, faults spread over it, a calm end, time to settle, and the verdict."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chaos import leaks, neighbourhood
from chaos.checker import Checker
from chaos.driver import Driver
from chaos.faults.kinds import AFTERMATH_S
from chaos.findings import Findings
from chaos.machines import machines
from chaos.nemesis import Nemesis
from chaos.scene import Scene, scene
from chaos.siege import Hostility, Siege
from chaos.watch import Watch
from executions.states import FINAL
from harness.installation import Installation
from harness.processes import until

SETTLE_S = 90.0  # seconds for a lease, a sweep and the longest step on a busy machine
RECOVERY_S = 120.0  # seconds for the last tenth of the traffic
QUIET_SHARE = 10  # the first and the last tenth of the traffic meet no fault


@dataclass(frozen=True, slots=True)
class Trial:
    accepted: int
    faults: int
    seed: int = 0
    only: tuple[str, ...] = ()  # faults by name, in turn, instead of those that the seed gives
    is_long: bool = False  # with the faults that take a minute
    hostility: Hostility | None = None  # of another organization, all the time but for the quiet shares
    seconds: float = 0.0  # of the traffic at least, without the quiet shares
    hosts: int = 1  # machines
    has_disk: bool = False  # of its own, for DATA_DIR
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def quiet(self) -> int:
        """Return the number of requests before the first fault, and after the last."""
        return self.accepted // QUIET_SHARE


def run(database: str, trial: Trial, *, say: Callable[[str], None], prepared: Installation | None = None) -> bool:
    """Run on one database; print the findings and return whether every promise was kept."""
    directory = Path(tempfile.mkdtemp(prefix=f"agentos-chaos-{database}-"))
    directory.chmod(0o755)
    where = f"{database}, {trial.hosts} machines" if trial.hosts > 1 else database
    say(f"{where}: {trial.accepted} accepted, {trial.faults} faults, seed {trial.seed}, evidence in {directory}")
    with (
        machines(directory, trial.hosts, **trial.settings)
        if trial.hosts > 1
        else scene(database, directory, prepared, has_disk=trial.has_disk, **trial.settings)
    ) as built:
        findings = attack(built, trial, say)
    say("\n".join(findings.lines()) or "  every promise was kept")
    if not findings.violations:
        shutil.rmtree(directory)
    return not findings.violations


def attack(built: Scene, trial: Trial, say: Callable[[str], None]) -> Findings:
    driver = Driver(built, trial.accepted)
    nemesis = Nemesis(built, driver, trial.seed, lambda text: say("  " + text), is_long=trial.is_long, only=trial.only)
    siege = Siege(built, trial.hostility, trial.seed) if trial.hostility else None
    driver.start()
    driver.reach(trial.quiet)
    before = leaks.Usage.of(built)
    watch = Watch(built)
    try:
        with watch:
            if siege:
                siege.begin()
            strike(trial, driver, nemesis)
            if siege:
                siege.end()
            time.sleep(AFTERMATH_S)
            stopped = reach(driver, trial.accepted)
            built.stop_schedule()
            took = settle(built)
    finally:
        if siege:
            siege.kill()
            driver.posts += siege.posts
        driver.write(built.directory / "posts.jsonl")
    checker = Checker(built, driver, nemesis, watch)
    findings = checker.check()
    findings.add("I7 traffic does not go on after the faults", stopped)
    if siege:
        neighbourhood.check(siege, checker.ended, nemesis, findings)
    leaks.check(
        built, before, nemesis, findings,
        has_visitors=siege is not None,
        judges_memory=siege is None or trial.is_long,  # a short siege ends in the middle of what takes memory
    )  # fmt: skip
    table(findings, nemesis, took, say)
    if siege:
        neighbourhood.table(siege, checker.ended, say)
    return findings


def reach(driver: Driver, accepted: int) -> list[str]:
    """Post the rest of the traffic; return the reason why that did not end."""
    try:
        driver.reach(accepted, within=RECOVERY_S)
    except RuntimeError as error:
        driver.rest()
        return [str(error)]
    return []


def strike(trial: Trial, driver: Driver, nemesis: Nemesis) -> None:
    """Let each fault meet its share of the traffic, and let the traffic last for the trial's seconds at least."""
    start, quiet = time.monotonic(), trial.quiet
    share = (trial.accepted - 2 * quiet) / max(1, trial.faults)
    driver.rate = share / max(1.0, trial.seconds)
    for number in range(1, trial.faults + 1):
        driver.allow(quiet + int(number * share))
        nemesis.strike(share)
        driver.reach(quiet + int(number * share))
    driver.allow(trial.accepted - quiet)
    time.sleep(max(0.0, start + trial.seconds - time.monotonic()))


def settle(built: Scene) -> float:
    """Wait until no execution is open, at most SETTLE_S; return the seconds waited."""
    start = time.monotonic()
    final = ", ".join(str(int(status)) for status in FINAL)
    is_open = f"status NOT IN ({final})"
    try:
        until(
            lambda: built.made.select("COUNT(*) AS n", "executions_execution", is_open)[0]["n"] == 0,
            within=SETTLE_S, every=0.2,
        )  # fmt: skip
    except AssertionError:
        pass  # the checker names the stuck executions
    return time.monotonic() - start


def table(findings: Findings, nemesis: Nemesis, took: float, say: Callable[[str], None]) -> None:
    faults = Counter(window.name for window in nemesis.windows)
    lines = [f"  {'settled after the last accept':44}{took:8.1f} s"]
    lines += [f"  {name:44}{count:8}" for name, count in sorted(faults.items())]
    lines += [f"  {name:44}{count:8}" for name, count in findings.figures.items()]
    say("\n".join(lines))

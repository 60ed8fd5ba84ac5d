"""`python -m bench.recovery`: for how long a fault keeps an installation from accepting and running executions.

It runs on a primary PostgreSQL and a synchronous standby, under a post every few milliseconds.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import machine
from bench.installation import Measured
from executions.states import FINAL
from harness.automations import AUTOMATIONS, Made, make
from harness.databases import PostgresqlDatabase
from harness.processes import children, until
from harness.standby import Pair, pair

UNDER_WAY = 20  # executions that wait for an answer, which takes CALL_MS, when the harm is done
CALL_MS = 1000
POST_EVERY_S = 0.01
WITHIN_S = 120.0


@dataclass(slots=True)
class Scene:
    two: Pair
    installation: Measured
    made: Made

    def worker(self) -> int:
        """Return the process of the first engine, whose peer goes on."""
        return until(self._first_worker, within=WITHIN_S, what="two engines run")

    def _first_worker(self) -> int:
        engines = self.installation.query("SELECT pid FROM executions_engine WHERE NOT is_stopping ORDER BY started_at")
        return int(engines[0]["pid"]) if len(engines) > 1 else 0

    def signal_worker(self, number: signal.Signals) -> None:
        os.kill(self.worker(), number)

    def kill_cluster(self) -> None:
        assert self.installation.cluster
        self.installation.cluster.kill()

    def start_cluster(self) -> None:
        self.installation.cluster = self.installation.launch("cluster.log", "manage.py", "qcluster")

    def kill_web(self) -> None:
        assert self.installation.web
        os.kill(children(self.installation.web.pid)[0], signal.SIGKILL)


type Act = Callable[[Scene], None]


def nothing(_: Scene) -> None:
    pass


FAULTS: dict[str, tuple[Act, Act]] = {  # the harm, and what an operator does at once
    "kill -9 of one of two workers": (lambda scene: scene.signal_worker(signal.SIGKILL), nothing),
    "one of two workers freezes": (lambda scene: scene.signal_worker(signal.SIGSTOP), nothing),
    "kill -9 of the cluster; started anew": (Scene.kill_cluster, Scene.start_cluster),
    "kill -9 of the web server's worker": (Scene.kill_web, nothing),
    "PostgreSQL crashes; started anew": (
        lambda scene: scene.two.primary.stop(),
        lambda scene: scene.two.primary.start(),
    ),
    # The last one, as it leaves no pair behind.
    "kill -9 of the primary; standby promoted": (
        lambda scene: scene.two.kill_primary(),
        lambda scene: scene.two.promote(),
    ),
}


class Sender(threading.Thread):
    """Posts all the time, and notes the moment of each post and of its answer."""

    def __init__(self, made: Made) -> None:
        super().__init__(daemon=True)
        self.made = made
        self.accepted: list[tuple[float, float, str]] = []  # sent, answered, the execution's id
        self.is_over = threading.Event()

    def run(self) -> None:
        while not self.is_over.wait(POST_EVERY_S):
            sent = time.monotonic()
            with suppress(OSError):  # no answer, as while the web server starts
                status, answer = self.made.post("transform")
                if status == 202:
                    self.accepted.append((sent, time.monotonic(), answer["execution_id"]))


def measure(scene: Scene, harm: Act, repair: Act) -> tuple[float, float, float]:
    """Return the seconds from the harm until a post is accepted, one has been run, and what was under way has ended.

    The posts are those that were sent after the harm.
    """
    scene.worker()  # both are there
    sender = Sender(scene.made)
    sender.start()
    until(lambda: sender.accepted, within=WITHIN_S, what="posts are accepted")
    url = scene.installation.stub_url(CALL_MS)
    under_way = [scene.made.start("call", {"url": url}) for _ in range(UNDER_WAY)]
    harm(scene)
    at = time.monotonic()
    repair(scene)
    later = until(lambda: [post for post in sender.accepted if post[0] > at], within=WITHIN_S, every=0.005)
    ran = ended(scene, [post[2] for post in later[:1]])
    all_ended = ended(scene, under_way)
    sender.is_over.set()
    sender.join()
    ended(scene, [post[2] for post in sender.accepted])
    return later[0][1] - at, ran - at, all_ended - at


def ended(scene: Scene, executions: list[Any]) -> float:
    """Return when the last of the executions has ended."""
    final = ", ".join(str(status.value) for status in FINAL)
    query = f"SELECT count(*) AS n FROM executions_execution WHERE id = ANY(%s::uuid[]) AND status IN ({final})"

    def have_all() -> bool:
        with suppress(Exception):  # the database may be away
            return bool(scene.installation.query(query, [executions])[0]["n"] == len(executions))
        return False

    until(have_all, within=WITHIN_S, every=0.005, what="they have ended")
    return time.monotonic()


@contextmanager
def scene() -> Iterator[Scene]:
    with TemporaryDirectory(prefix="agentos-bench-") as directory, pair() as two:
        installation = Measured(Path(directory), PostgresqlDatabase(two.url), None)
        try:
            installation.prepare()
            installation.start_stub()
            installation.start()
            yield Scene(two, installation, make(installation, AUTOMATIONS, direct_limit=None))
        finally:
            installation.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="pairs of servers; each meets every fault once")
    options = parser.parse_args()
    print(machine.line(machine.describe()))
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in FAULTS}
    for _ in range(options.runs):
        with scene() as built:
            for name, (harm, repair) in FAULTS.items():
                found[name].append(measure(built, harm, repair))
                print(f"{name}: " + ", ".join(f"{seconds:.2f} s" for seconds in found[name][-1]), flush=True)
    print("\n| fault | accepted again | run again | what was under way has ended |\n| --- | --- | --- | --- |")
    for name, runs in found.items():
        cells = [f"{statistics.median(column):.1f} s ({max(column):.1f})" for column in zip(*runs, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

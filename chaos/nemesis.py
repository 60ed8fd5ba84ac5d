"""The faults, a function each, in an order shuffled by a seed. A fault is over when its function returns."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle

from chaos import outages
from chaos.burst import burst
from chaos.driver import Driver
from chaos.scene import Scene
from executions.states import ATTEMPT_LIMIT, Status
from harness.databases import SqliteDatabase
from harness.processes import Process, children, group_is_alive, is_running, until

LEASE_S = 10.0
AFTERMATH_S = 10.0  # seconds after a fault for which it explains an error of the web server
LONGEST_POISON_S = 40.0  # seconds from the request to its third death
BURSTS = 12  # kills of one fault at most; about half of the kills have hit both sides
SLOW_REPLY = 504  # to a caller of a Response step, as faults of the cluster delay the reply
REPLY_S = 30.0  # seconds that such a caller waits, from a request that came before the fault was over
STANDS_STILL = "a worker stands still for 2 leases"


@dataclass(frozen=True, slots=True)
class Window:
    """The time of a fault. A fault of the web server explains its errors then, and for AFTERMATH_S more."""

    fault: str
    start: float
    end: float
    backend: str = ""

    def excuses(self, status: int, at: float) -> bool:
        """Return whether the fault explains an answer with this status (0 for none) at that time."""
        is_own = self.hits_web or status == SLOW_REPLY
        return is_own and self.start <= at <= self.end + AFTERMATH_S + (REPLY_S if status == SLOW_REPLY else 0)

    @property
    def hits_web(self) -> bool:
        """Whether it hits the web server: of SQLite, what stands still may hold the lock of the file."""
        return self.fault in OF_THE_WEB or (self.fault == STANDS_STILL and self.backend == "sqlite")

    @property
    def hits_engines(self) -> bool:
        return self.fault in OF_THE_ENGINES

    @property
    def over(self) -> float:
        """Return when the fault's last victim has died: a poisoned step kills its third engine after the fault."""
        return self.end + (LONGEST_POISON_S if self.fault == POISON else 0.0)


class Nemesis:
    def __init__(
        self,
        scene: Scene,
        driver: Driver,
        seed: int,
        say: Callable[[str], None],
        *,
        is_long: bool = False,
        only: Sequence[str] = (),
    ) -> None:
        self.scene = scene
        self.driver = driver
        self.random = random.Random(seed)
        self.say = say
        self.is_long = is_long
        self.windows: list[Window] = []
        self.pressed: dict[str, list[list[int]]] = {}  # by execution: the answers of each round of presses of Retry
        self.absences: list[tuple[float, float]] = []  # times without a cluster, longer than a moment
        self.bursts: list[tuple[int, int]] = []  # unanswered posts of each kill of the web server: stored, not stored
        self.outages: list[tuple[float, float]] = []  # times without a database, longer than senders wait
        here = [name for name in only if name not in OF_ANOTHER[scene.installation.backend]]
        self._deck = cycle(here) if here else self._shuffled()

    @property
    def cluster(self) -> Process:
        cluster = self.scene.installation.cluster
        assert cluster is not None
        return cluster

    def strike(self) -> None:
        """Inject the next fault of the deck."""
        name = next(self._deck)
        time.sleep(self.random.uniform(0, 1))
        start = time.time()
        self.say(f"{time.strftime('%H:%M:%S')} {name}")
        FAULTS[name](self)
        self.windows.append(Window(name, start, time.time(), self.scene.installation.backend))

    def _shuffled(self) -> Iterator[str]:
        """Yield each fault once before any comes again."""
        while True:
            names = [name for name in FAULTS if self._suits(name)]
            self.random.shuffle(names)
            yield from names

    def _suits(self, name: str) -> bool:
        return name not in OF_ANOTHER[self.scene.installation.backend] and (self.is_long or name not in outages.FAULTS)

    def new_key(self, what: str) -> str:
        return f"{what}-{self.random.getrandbits(64):x}"

    def a_worker(self) -> int:
        return self.random.choice(until(self.scene.workers, within=30, what="a worker"))

    # --- the workers and their cluster

    def kill_worker(self) -> None:
        kill(self.a_worker())

    def kill_after_effect(self) -> None:
        """Kill the workers when a call outside is recorded, before its result can be stored."""
        workers = until(self.scene.workers, within=30, what="a worker")
        self.scene.arm(workers)
        until(lambda: not is_running(workers[0]), within=30, what="the next effect has killed the workers")

    def pause_worker(self) -> None:
        """Stop a worker for twice its lease: a peer takes over and kills it, or its late writes change nothing."""
        worker = self.a_worker()
        send(worker, signal.SIGSTOP)
        time.sleep(2 * LEASE_S)
        send(worker, signal.SIGCONT)

    def kill_pusher(self) -> None:
        """Kill a child of the sentinel other than a worker: django-q2's pusher or monitor."""
        sentinel = children(self.cluster.pid)[0]
        others = [pid for pid in children(sentinel) if pid not in self.scene.workers()]
        kill(self.random.choice(others))

    def kill_sentinel(self) -> None:
        old = self.cluster
        kill(children(old.pid)[0])
        until(lambda: not group_is_alive(old.pid), within=15, what="nothing is left of the cluster")
        old.popen.wait(5)
        self.scene.installation.start_cluster()

    def kill_cluster(self) -> None:
        self.cluster.kill()
        time.sleep(self.random.uniform(0, 2))
        self.scene.installation.start_cluster()

    def deploy(self) -> None:
        """Start a new cluster beside the old one, then end the old one as an operator does."""
        old = self.cluster
        self.scene.installation.start_cluster()
        assert old.terminate(within=30) == 0, "the old cluster ended with an error"
        assert not group_is_alive(old.pid), "the old cluster left a process behind"

    def race_clusters(self) -> None:
        """Run a second cluster for a while, then kill it."""
        second = self.scene.installation.start_another_cluster()
        time.sleep(self.random.uniform(1, 4))
        second.kill()

    # --- the web server and its requests

    def kill_web(self) -> None:
        """Kill the web server amid posts, again until kills have come both after and before a commit."""
        for _ in range(BURSTS):
            self.bursts.append(burst(self.scene, self.driver, self.random.uniform(0, 0.1)))
            if all(map(sum, zip(*self.bursts, strict=True))):
                return

    def deliver_fifty_times(self) -> None:
        self.driver.post("chain", key=self.new_key("fifty"), times=50)

    def poison(self) -> None:
        """Start an execution whose step kills its worker at each try."""
        self.driver.post("poison", key=self.new_key("poison"))

    def press_retry(self) -> None:
        """Let five users press Retry Execution of one failed execution at once, in one round more than its retries."""
        post = self.driver.post("fail", key=self.new_key("retry"))
        execution_id = post.replies[-1].execution_id
        scene = self.scene
        tokens = scene.tokens
        for _ in range(ATTEMPT_LIMIT):
            scene.made.wait(uuid.UUID(execution_id), Status.FAILED, within=90)
            with ThreadPoolExecutor(len(tokens)) as pool:
                pressed = pool.map(lambda token: scene.press_retry(execution_id, token), tokens)
            self.pressed.setdefault(execution_id, []).append(list(pressed))

    # --- the database

    def restart_database(self) -> None:
        """Crash PostgreSQL while callers wait for a Response step, whose replies must come afterwards."""
        assert self.scene.server is not None
        with ThreadPoolExecutor(3) as pool:
            for _ in range(3):
                pool.submit(self.driver.post, "respond", key=self.new_key("crash"))
            time.sleep(0.3)
            self.scene.server.stop()
            time.sleep(self.random.uniform(0, 2))
            self.scene.server.start()

    def cut_connections(self) -> None:
        for _ in range(3):
            self.scene.installation.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            time.sleep(1)

    def hold_the_lock(self) -> None:
        """Hold the file's write lock, as a slow second writer would."""
        self.hold(self.random.uniform(2, 6))

    def hold(self, seconds: float) -> None:
        database = self.scene.installation.database
        assert isinstance(database, SqliteDatabase)
        connection = sqlite3.connect(database.path, timeout=20, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            connection.execute("ROLLBACK")
        finally:
            connection.close()


POISON = "a step kills its worker"
FAULTS: dict[str, Callable[[Nemesis], None]] = {
    "kill -9 a worker": Nemesis.kill_worker,
    "kill -9 between effect and result": Nemesis.kill_after_effect,
    "kill -9 the cluster": Nemesis.kill_cluster,
    "deploy, old beside new": Nemesis.deploy,
    "kill -9 the web server": Nemesis.kill_web,
    "PostgreSQL crashes": Nemesis.restart_database,
    "all connections cut": Nemesis.cut_connections,
    STANDS_STILL: Nemesis.pause_worker,
    "50 deliveries of one id": Nemesis.deliver_fifty_times,
    POISON: Nemesis.poison,
    "two clusters race": Nemesis.race_clusters,
    "another writer holds the file": Nemesis.hold_the_lock,
    "Retry pressed by five": Nemesis.press_retry,
    "kill -9 pusher or monitor": Nemesis.kill_pusher,
    "kill -9 the sentinel": Nemesis.kill_sentinel,
    **outages.FAULTS,
}
OF_THE_WEB = {
    "kill -9 the web server", "PostgreSQL crashes", "all connections cut",
    "another writer holds the file", "PostgreSQL is away for 15 s",
    "another writer holds the file for 15 s",
}  # fmt: skip
OF_THE_ENGINES = {
    "kill -9 a worker", "kill -9 between effect and result", "kill -9 the cluster", POISON,
    STANDS_STILL, "two clusters race", "kill -9 pusher or monitor",
    "kill -9 the sentinel", "no cluster runs for 70 s",
}  # fmt: skip
OF_ANOTHER = {
    "sqlite": {"PostgreSQL crashes", "all connections cut", "PostgreSQL is away for 15 s"},
    "postgresql": {"another writer holds the file", "another writer holds the file for 15 s"},
}


def kill(pid: int) -> None:
    send(pid, signal.SIGKILL)


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process; it may have ended already, because a peer kills the process of a dead engine."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass

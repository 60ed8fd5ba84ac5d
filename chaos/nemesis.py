"""The faults (`chaos.faults`) in an order shuffled by a seed. A fault is over when its function returns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle

from chaos.driver import Driver
from chaos.faults import FAULTS
from chaos.faults.kinds import Window
from chaos.scene import Scene
from harness.hosts import Host
from harness.processes import Process, until

SHORT_S = 8.0  # seconds for which the traffic of one fault goes on in the short form


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
        self.place = scene.places[0]  # which the present fault meets
        self.windows: list[Window] = []
        self.wrongs: list[tuple[str, str]] = []  # broken promises that only the fault has seen: rule, what
        self.pressed: dict[str, list[list[int]]] = {}  # by execution: the answers of each round of presses of Retry
        self.absences: list[tuple[float, float]] = []  # times without a cluster, longer than a moment
        self.bursts: list[tuple[int, int]] = []  # unanswered posts of each kill of the web server: stored, not stored
        self.outages: list[tuple[float, float]] = []  # times without a database, longer than senders wait
        here = [name for name in only if FAULTS[name].needs <= scene.offers]
        self._deck = cycle(here) if here else self._shuffled()

    @property
    def cluster(self) -> Process:
        assert self.place.cluster is not None
        return self.place.cluster

    @property
    def host(self) -> Host:
        assert self.place.host is not None
        return self.place.host

    def strike(self, requests: float) -> None:
        """Inject the next fault of the deck on one of the machines, while so many requests come."""
        name = next(self._deck)
        self.place = self.random.choice(self.scene.places)
        self.driver.rate = requests / self.seconds(FAULTS[name].takes_s, min(SHORT_S, FAULTS[name].takes_s))
        time.sleep(self.random.uniform(0, 1))
        start = time.time()
        self.say(f"{time.strftime('%H:%M:%S')} {name}" + (f" ({self.place.name})" if self.place.name else ""))
        FAULTS[name].strike(self)
        backend = self.scene.installation.backend
        self.windows.append(Window(name, FAULTS[name], start, time.time(), self.place.name, backend))

    def _shuffled(self) -> Iterator[str]:
        """Yield each fault once before any comes again."""
        while True:
            names = [name for name, fault in FAULTS.items() if fault.needs <= self.scene.offers]
            names = [name for name in names if self.is_long or not FAULTS[name].is_long]
            self.random.shuffle(names)
            yield from names

    def wrong(self, rule: str, what: str) -> None:
        self.wrongs.append((rule, what))

    def seconds(self, long: float, short: float) -> float:
        """Return how long a slow fault lasts in this form of the trial."""
        return long if self.is_long else short

    def new_key(self, what: str) -> str:
        return f"{what}-{self.random.getrandbits(64):x}"

    def a_worker(self) -> int:
        """Return a worker of the machine that the present fault meets."""
        return self.random.choice(until(lambda: self.scene.workers(self.place), within=60, what="a worker"))

"""Who lives: the engines and the web server's processes, looked at every second while the trial lasts."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from chaos.scene import Scene
from harness.processes import children

EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Death:
    """A process that is no more; `at` is when it was missed."""

    who: str
    at: float

    @property
    def is_of_web(self) -> bool:
        return self.who.startswith("process")


@dataclass
class Watch:
    scene: Scene
    deaths: list[Death] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.thread.join(30)

    def _look(self) -> None:
        before = self._alive(set())
        while not self.is_over.wait(EVERY_S):
            now = self._alive(before)
            self.deaths += [Death(who, time.time()) for who in sorted(before - now)]
            before = now

    def _alive(self, before: set[str]) -> set[str]:
        return self._engines(before) | self._web()

    def _engines(self, before: set[str]) -> set[str]:
        """Return the engines that are registered; those of before, while the database is away.

        A quarantine ends by itself, and what kills it has killed an engine before.
        """
        try:
            rows = self.scene.installation.query("SELECT id, pid FROM executions_engine WHERE NOT is_quarantine")
        except Exception:  # of either database's driver
            return {who for who in before if who.startswith("engine")}
        return {f"engine {row['id']}, process {row['pid']}" for row in rows}

    def _web(self) -> set[str]:
        web = self.scene.installation.web
        try:
            return {f"process {pid} of web server {web.pid}" for pid in children(web.pid)} if web else set()
        except OSError:
            return set()

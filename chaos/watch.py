"""Who lives, looked at each second: engines and the web servers' processes; and what runs on engines that are gone."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

from chaos.scene import Scene
from executions.states import Status
from harness.processes import children, is_running

ENGINE = "engine "
EVERY_S = 1.0
SWEPT_S = 30.0  # seconds after which what runs on an engine without a row must have been given back
OWNERLESS = (
    "SELECT id, claim FROM executions_execution WHERE status = %s AND engine_id IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM executions_engine e WHERE e.id = executions_execution.engine_id)"
)


@dataclass(frozen=True, slots=True)
class Death:
    """An engine or a process that is no more; `at` is when it was missed, and `place` its machine."""

    who: str
    at: float
    place: str = ""

    @property
    def is_engine(self) -> bool:
        return self.who.startswith(ENGINE)


@dataclass(frozen=True, slots=True)
class Living:
    who: str
    place: str
    pid: int

    @property
    def is_engine(self) -> bool:
        return self.who.startswith(ENGINE)


@dataclass
class Watch:
    scene: Scene
    deaths: list[Death] = field(default_factory=list)
    ownerless: dict[str, float] = field(default_factory=dict)  # executions that ran for so many seconds for nobody

    def __post_init__(self) -> None:
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self._since: dict[str, float] = {}

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
            self.deaths += map(_death, sorted(before - now, key=lambda one: one.who))
            before = now
            self.look_for_ownerless(time.monotonic())

    def _alive(self, before: set[Living]) -> set[Living]:
        return self._engines(before) | self._web()

    def _engines(self, before: set[Living]) -> set[Living]:
        """Return the engines that are registered; those of before, while the database is away.

        A quarantine ends by itself, and what kills it has killed an engine before.
        """
        try:
            engines = [engine for engine in self.scene.engines() if not engine.is_quarantine]
        except Exception:  # of either database's driver
            return {one for one in before if one.is_engine}
        known = {one.who: one for one in before}
        found = [Living(f"{ENGINE}{engine.id}", engine.place, engine.pid) for engine in engines]
        return {known.get(one.who, one) for one in found}  # a process that has ended has lost its number

    def _web(self) -> set[Living]:
        found = set()
        for place in self.scene.places:
            if web := place.web:
                with suppress(OSError):
                    found |= {Living(f"process {pid} of web server {web.pid}", place.name, pid)
                              for pid in children(web.pid)}  # fmt: skip
        return found

    def look_for_ownerless(self, now: float) -> None:
        """Note what runs without an engine; nobody would ever end it."""
        try:
            rows = self.scene.installation.query(OWNERLESS, [Status.RUNNING])
        except Exception:  # of either database's driver
            return
        found = {f"{row['id']}, claim {row['claim']}" for row in rows}
        self._since = {one: self._since.get(one, now) for one in found}
        self.ownerless |= {one: now - since for one, since in self._since.items() if now - since > SWEPT_S}


def _death(one: Living) -> Death:
    is_buried = one.is_engine and one.pid and is_running(one.pid)
    return Death(f"{one.who}{' whose process lives' if is_buried else ''}", time.time(), one.place)

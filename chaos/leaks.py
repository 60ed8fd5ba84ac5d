"""No secret in the clear, no process left, memory and connections as before: the promise I8."""

from __future__ import annotations

import time
from dataclasses import dataclass

from chaos import plan
from chaos.findings import Findings
from chaos.nemesis import Nemesis
from chaos.scene import Scene
from harness.processes import group_is_alive

GROWTH = 1.5
NAMED = 8  # processes whose memory is told
SLACK_MB = 60.0
REST_S = 75.0  # seconds in which memory comes back: processes that compute end after 30 s, engines trim at their beats
BURIED_S = 15.0  # seconds after the last fault: a lease, and the delay of a busy machine
BEATS_S = 3.0  # seconds within which a peer looks once
THREADS = 64  # threads of the web server; each keeps a connection once it has answered the API
MORE_THREADS = 8  # of the workers, which attacks make use theirs too
MORE_CONNECTIONS = 6  # of threads of one machine that had not yet used theirs at the first count

TEXTS = {
    "sqlite": """
        SELECT t.name AS "table", c.name AS "column" FROM sqlite_master t JOIN pragma_table_info(t.name) c
        WHERE t.type = 'table' AND (LOWER(c.type) = 'text' OR c.type LIKE 'varchar%')
    """,
    "postgresql": """
        SELECT table_name AS "table", column_name AS "column" FROM information_schema.columns
        JOIN pg_class ON pg_class.oid = quote_ident(table_name)::regclass AND NOT relispartition
        WHERE table_schema = current_schema() AND data_type IN ('text', 'character varying')
    """,
}


@dataclass(frozen=True, slots=True)
class Usage:
    memory: dict[str, float]  # MB by process
    connections: int

    @classmethod
    def of(cls, scene: Scene) -> Usage:
        return cls(scene.memory_mb(), scene.connections())

    @property
    def memory_mb(self) -> float:
        return sum(self.memory.values())

    @property
    def largest(self) -> str:
        """Return the processes with most memory, in words."""
        most = sorted(self.memory.items(), key=lambda item: -item[1])[:NAMED]
        return ", ".join(f"{who}: {mb:.0f}" for who, mb in most)


def check(
    scene: Scene,
    before: Usage,
    nemesis: Nemesis,
    findings: Findings,
    *,
    has_visitors: bool = False,
    judges_memory: bool = True,
) -> None:
    """Compare memory and connections, stop everything, and look for leftovers.

    Visitors read pages and the API, as those who press Retry do, so that each thread may have a connection. Without
    `judges_memory` the memory is only told, as it stands at the end.
    """
    after, most_mb = Usage.of(scene), before.memory_mb * GROWTH + SLACK_MB
    deadline = time.monotonic() + (REST_S if judges_memory else 0.0)
    while after.memory_mb > most_mb and time.monotonic() < deadline:
        time.sleep(1)
        after = Usage.of(scene)
    findings.figures["memory before, MB"] = round(before.memory_mb)
    findings.figures["memory after, MB"] = round(after.memory_mb)
    if judges_memory and after.memory_mb > most_mb:
        findings.add(
            "I8 memory",
            [f"{before.memory_mb:.0f} MB before ({before.largest}), {after.memory_mb:.0f} MB after ({after.largest})"],
        )
    presses = sum(len(statuses) for rounds in nemesis.pressed.values() for statuses in rounds)
    asked = THREADS + MORE_THREADS if has_visitors else min(presses, THREADS)
    if after.connections > before.connections + (MORE_CONNECTIONS + asked) * len(scene.places):
        whose = ", ".join(f"{count} of {who}" for who, count in scene.connections_by_client().items())
        findings.add("I8 connections", [f"{before.connections} before, {after.connections} after: {whose}"])
    findings.figures["columns searched for the secret"] = sum(map(len, texts(scene).values()))
    findings.add("I8 a secret in the clear", secrets_in_the_clear(scene))
    findings.add("I8 an engine's row without its process", dead_engines(scene, nemesis))
    findings.add("I8 a process of neither web server nor cluster", (
        str(stray) for place in scene.places for stray in place.strays()
    ))  # fmt: skip
    findings.add("I8 a process without a parent", orphans(scene, nemesis))
    findings.add("I8 processes left", end(scene))


def secrets_in_the_clear(scene: Scene) -> list[str]:
    needle = plan.CANARY.encode()
    files = [file for file in scene.directory.rglob("*.log") if needle in file.read_bytes()]
    found = [f"{file.name} holds the secret" for file in files]
    for table, columns in texts(scene).items():
        sums = ", ".join(f'SUM(CASE WHEN "{column}" LIKE %s THEN 1 END) AS "{column}"' for column in columns)
        row = scene.installation.query(f'SELECT {sums} FROM "{table}"', [f"%{plan.CANARY}%"] * len(columns))[0]
        found += [f"{table}.{column} of {count} rows" for column, count in row.items() if count]
    return found


def texts(scene: Scene) -> dict[str, list[str]]:
    """Return the columns of each table that hold text; a partitioned table stands for its partitions."""
    found: dict[str, list[str]] = {}
    for row in scene.installation.query(TEXTS[scene.installation.backend]):
        found.setdefault(row["table"], []).append(row["column"])
    return found


def end(scene: Scene) -> list[str]:
    """Stop as an operator does; return the processes that do not end."""
    left = []
    for name, process in (
        (f"{name} {place.name}".strip(), process)
        for place in scene.places
        for name, process in (("cluster", place.cluster), ("web server", place.web))
    ):
        assert process is not None
        code = process.terminate(within=30)
        if name.startswith("cluster") and code:
            left.append(f"the {name} ended with {code}")
        if group_is_alive(process.pid):
            left.append(f"of the {name}'s group {process.pid}")
    return left


def orphans(scene: Scene, nemesis: Nemesis) -> list[str]:
    """Return the processes that have lost their parent and live on, 15 s after the last fault."""
    deadline = judged_at(nemesis)
    while (found := [str(one) for place in scene.places for one in place.orphans()]) and time.time() < deadline:
        time.sleep(0.2)
    return found


def judged_at(nemesis: Nemesis) -> float:
    last = nemesis.windows[-1].end if nemesis.windows else 0.0
    return max(last + BURIED_S, time.time() + BEATS_S)


def dead_engines(scene: Scene, nemesis: Nemesis) -> list[str]:
    """Return the engines whose lease still exists without a process, 15 s after the last fault."""
    deadline = judged_at(nemesis)
    while (dead := _dead(scene)) and time.time() < deadline:
        time.sleep(0.2)
    return dead


def _dead(scene: Scene) -> list[str]:
    return [engine.id for engine in scene.engines() if not engine.pid]

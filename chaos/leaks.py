"""I8: no secret in the clear, no process left, memory and connections back where they were."""

from __future__ import annotations

from dataclasses import dataclass

from chaos import plan
from chaos.findings import Findings
from chaos.nemesis import Nemesis
from chaos.scene import Scene
from tests.support.processes import group_is_alive

GROWTH = 1.5
SLACK_MB = 60.0
THREADS = 64  # of the web server; each that has answered the API keeps a connection
MORE_CONNECTIONS = 3  # of threads that have not asked anything yet when the first are counted


@dataclass(frozen=True, slots=True)
class Usage:
    rss_mb: float
    connections: int

    @classmethod
    def of(cls, scene: Scene) -> Usage:
        return cls(scene.rss_mb(), scene.connections())


def check(scene: Scene, before: Usage, nemesis: Nemesis, findings: Findings) -> None:
    """Compare, then stop everything, and look at what is left."""
    after = Usage.of(scene)
    findings.figures["memory before, MB"] = round(before.rss_mb)
    findings.figures["memory after, MB"] = round(after.rss_mb)
    if after.rss_mb > before.rss_mb * GROWTH + SLACK_MB:
        findings.add("I8 memory", [f"{before.rss_mb:.0f} MB before, {after.rss_mb:.0f} MB after"])
    presses = sum(len(statuses) for rounds in nemesis.pressed.values() for statuses in rounds)
    if after.connections > before.connections + MORE_CONNECTIONS + min(presses, THREADS):
        findings.add("I8 connections", [f"{before.connections} before, {after.connections} after"])
    findings.add("I8 a secret in the clear", secrets_in_the_clear(scene))
    findings.add("I8 processes left", end(scene))


def secrets_in_the_clear(scene: Scene) -> list[str]:
    needle = plan.CANARY.encode()
    files = [file for file in scene.directory.glob("*.log") if needle in file.read_bytes()]
    found = [f"{file.name} holds the secret" for file in files]
    for column in ("input", "output", "error"):
        sql = f"SELECT COUNT(*) AS n FROM executions_steprun WHERE {column} LIKE %s"
        if count := scene.installation.query(sql, [f"%{plan.CANARY}%"])[0]["n"]:
            found.append(f"{column} of {count} step runs")
    return found


def end(scene: Scene) -> list[str]:
    """Stop as an operator does; return what does not end."""
    left = []
    for name, process in (("cluster", scene.installation.cluster), ("web server", scene.installation.web)):
        assert process is not None
        code = process.terminate(within=30)
        if name == "cluster" and code:
            left.append(f"the {name} ended with {code}")
        if group_is_alive(process.pid):
            left.append(f"of the {name}'s group {process.pid}")
    return left

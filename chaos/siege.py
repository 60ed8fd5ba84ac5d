"""The hostile organization and the well-behaved traffic beside it: two processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chaos import plan
from chaos.driver import Post, Reply
from chaos.neighbour import Job, Sample
from chaos.scene import Scene
from harness.processes import ROOT, free_port

TURN_S = 8.0
AT_ONCE = 3
ALONE_S = 5.0  # seconds of the neighbour alone, with which the others are compared
PATIENCE_S = 90.0  # until everything under way is answered


@dataclass(frozen=True, slots=True)
class Hostility:
    """Which attacks, how many at once, and for how long each."""

    attacks: tuple[str, ...]
    at_once: int = AT_ONCE
    turn_s: float = TURN_S


class Siege:
    def __init__(self, scene: Scene, hostility: Hostility, seed: int) -> None:
        self.scene = scene
        self.hostility = hostility
        self.seed = seed
        self.samples: list[Sample] = []
        self.turns: list[dict[str, Any]] = []
        self.loot: list[str] = []
        self.refused: dict[str, str] = {}  # automations that the product refused to make
        self.began = 0.0
        self.cpu_share = 0.0  # of a core, for the attackers

    def begin(self) -> None:
        """Make the hostile organization, let the neighbour run alone for a moment, then attack."""
        call = self.scene.installation.call
        port = free_port()
        remote = f"http://127.0.0.1:{port}"
        self.field = call("chaos.hostile.inside.furnish", list(self.hostility.attacks), remote)
        self.refused = self.field.pop("refused")
        self.organization = self.field.pop("organization")
        made, installation = self.scene.made, self.scene.installation
        log = f"/projects/{made.project}/executions/"
        triggers = {kind: made.triggers[kind] for kind in ("transform", "respond", "once", "mail")}
        asked = Job(installation.port, triggers, self.scene.echo_url, self.scene.user, log)
        self.neighbour = self._start("chaos.neighbour", asdict(asked), self._samples_file)
        time.sleep(ALONE_S)
        self.began = time.time()
        more = {"port": installation.port, "needle": plan.CANARY, "victim": self.scene.user, "remote": remote}
        job = asdict(self.hostility) | {"seed": self.seed, "remote_port": port, "field": self.field | more}
        self.attackers = self._start("chaos.hostile", job, self._turns_file)

    def end(self) -> None:
        """End the attack, then the neighbour, and read what both have written."""
        ended = time.time()
        for name, process, within in (("attackers", self.attackers, 30.0), ("neighbour", self.neighbour, PATIENCE_S)):
            process.send_signal(signal.SIGTERM)
            code = process.wait(within)
            assert code == 0, f"the {name} ended with {code}: {self._said}"
        self.samples = [Sample(**line) for line in _lines(self._samples_file)]
        for line in _lines(self._turns_file):
            if "loot" in line:
                self.loot.append(line["loot"])
            elif "cpu_s" in line:
                self.cpu_share = line["cpu_s"] / (ended - self.began)
            else:
                self.turns.append(line)

    def kill(self) -> None:
        for process in (getattr(self, "attackers", None), getattr(self, "neighbour", None)):
            if process and process.poll() is None:
                process.kill()
                process.wait()

    @property
    def posts(self) -> Sequence[Post]:
        """Return the neighbour's posts as the driver's, so that all promises are checked of both."""
        return [
            Post(one.number, one.stream, "", [Reply(one.status, one.execution_id, one.end, one.retry_after)])
            for one in self.samples
            if one.number
        ]

    @property
    def _samples_file(self) -> Path:
        return self.scene.directory / "neighbour.jsonl"

    @property
    def _turns_file(self) -> Path:
        return self.scene.directory / "attacks.jsonl"

    @property
    def _said(self) -> str:
        return (self.scene.directory / "siege.log").read_text(errors="replace")[-3000:]

    def _start(self, module: str, job: dict[str, Any], file: Path) -> subprocess.Popen[bytes]:
        file.touch()
        with (self.scene.directory / "siege.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, str(file)], cwd=ROOT, env=os.environ, start_new_session=True,
                stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        assert process.stdin
        process.stdin.write(json.dumps(job).encode())
        process.stdin.close()
        return process


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]

"""One `make run` under test: its processes, its output and its data."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.processes import STARTED_BY, Process, alive, descendants, end_leftovers, free_port, until


class Running:
    """One `make run`; the environment it runs in is the tests' own, so that nothing is installed."""

    def __init__(
        self, data_dir: Path, log: Path, *, command: list[str] | None = None, port: int = 0, **settings: str
    ) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.mark = {"DATA_DIR": str(data_dir), "PORT": str(self.port)}  # of all that it starts
        environment |= {**self.mark, "OUTBOUND_ALLOW": "127.0.0.0/8", STARTED_BY: os.environ["PYTEST_CURRENT_TEST"]}
        self.process = Process(command or make("run"), environment=environment | settings, log=log)

    def wait_until_ready(self) -> None:
        until(self._is_ready, within=90, what="the address is printed")
        self.pids = descendants(self.process.pid)

    def _is_ready(self) -> bool:
        assert self.process.is_alive, self.process.output
        return "curl " in self.process.output

    def kill(self) -> None:
        for pid in alive(descendants(self.process.pid)):
            with suppress(ProcessLookupError):  # it may end by itself meanwhile
                os.kill(pid, signal.SIGKILL)
        self.process.kill()

    def check_leftovers(self) -> None:
        """Kill what still runs, so that its port and its lock are free for the next test, and fail with its names."""
        end_leftovers(self.mark)

    @property
    def curl(self) -> str:
        match = re.search(r"^\s*(curl .*)$", self.process.output, re.MULTILINE)
        assert match
        return match[1]

    def child(self, name: str) -> int:
        """Return the leader of the web server or the cluster."""
        return min(pid for pid in alive(self.pids) if name_of(pid) == f"agentos-{name}")

    def query(self, sql: str) -> list[Any]:
        with sqlite3.connect(self.data_dir / "agentos.sqlite3", timeout=20) as connection:
            return connection.execute(sql).fetchall()


def make(*arguments: str) -> list[str]:
    return ["make", *arguments, f"PY={sys.executable}", "PYTHON_FOR_VENV=true"]


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()

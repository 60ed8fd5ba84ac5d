"""AgentOS as an operator runs it: a data directory, a database, a web server and a cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.databases import Database, Row
from harness.interpreter import Interpreter
from harness.processes import ROOT, Process, free_port, until

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "TZ")


class Installation:
    def __init__(self, directory: Path, database: Database, **settings: str) -> None:
        self.directory = directory
        self.database = database
        self.port = free_port()
        self.settings = {"OUTBOUND_ALLOW": "127.0.0.0/8", "WORKERS": "1", **settings}
        self.web: Process | None = None
        self.cluster: Process | None = None
        self.interpreter: Interpreter | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def backend(self) -> str:
        return self.database.url.partition(":")[0]

    @property
    def environment(self) -> dict[str, str]:
        return {name: os.environ[name] for name in KEPT if name in os.environ} | {
            "DATA_DIR": str(self.directory),
            "DATABASE_URL": self.database.url,
            "PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
            **self.settings,
        }

    def copy(self, directory: Path, database: Database, **settings: str) -> Installation:
        """Return another installation with the same keys and static files."""
        for file in self.directory.glob("*.key*"):
            shutil.copy(file, directory)
        (directory / "static").symlink_to(self.directory / "static")
        return Installation(directory, database, **self.settings | settings)

    # --- the operator's commands

    def prepare(self) -> None:
        """Do what `make run` does before it starts anything."""
        self._run([sys.executable, "-m", "agentos_site.keys"])
        self.manage("migrate", "-v", "0")
        if not (self.directory / "static").exists():
            self.manage("collectstatic", "--noinput", "-v", "0")

    def manage(self, *arguments: str, stdin: str = "") -> str:
        """Run `manage.py` against this installation and return what it printed; fail with all it said."""
        return self._run([sys.executable, "manage.py", *arguments], stdin)

    def shell(self, code: str) -> str:
        """Run Python code in the installation's own process, with Django and the models at hand."""
        return self.manage("shell", "-v", "0", "-c", code)

    def python(self, code: str) -> str:
        """Do as `shell` does in one process that stays, one call after the other."""
        if self.interpreter is None:
            self.interpreter = Interpreter(self.environment, self.directory / "interpreter.log")
        return self.interpreter.run(code)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self.database.query(sql, parameters)

    @cached_property
    def demo(self) -> dict[str, Any]:
        """Return what `manage.py demo --json` prints; the demo is made at the first look."""
        return dict(json.loads(self.manage("demo", "--json")))

    def _run(self, command: list[str], stdin: str = "") -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, input=stdin, text=True, capture_output=True, timeout=120
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    # --- its processes

    def start(self) -> None:
        """Start web server and cluster side by side."""
        before = self._engines()
        self.web, self.cluster = self._launch_web(), self._launch_cluster("cluster.log")
        self._wait_for_web()
        self._wait_for_engine(self.cluster, before)

    def start_web(self) -> Process:
        self.web = self._launch_web()
        self._wait_for_web()
        return self.web

    def start_cluster(self) -> Process:
        self.cluster = self._start_cluster("cluster.log")
        return self.cluster

    def start_another_cluster(self) -> Process:
        """Start one more beside the first; who starts it ends it."""
        return self._start_cluster("another-cluster.log")

    def stop(self) -> None:
        """End web server and cluster side by side."""
        running = [process for process in (self.cluster, self.web) if process]
        for process in running:
            if process.is_alive:
                process.signal(signal.SIGTERM)
        for process in running:
            process.end()

    def kill(self) -> None:
        """Leave nothing running, and wait for nothing."""
        for process in (self.cluster, self.web, self.interpreter):
            if process:
                process.kill()
        self.interpreter = None

    def _start_cluster(self, log: str) -> Process:
        before = self._engines()
        process = self._launch_cluster(log)
        self._wait_for_engine(process, before)
        return process

    def _launch_web(self) -> Process:
        command = [sys.executable, "-m", "agentos_site.web"]
        return Process(command, environment=self.environment, log=self.directory / "web.log")

    def _launch_cluster(self, log: str) -> Process:
        command = [sys.executable, "manage.py", "qcluster"]
        return Process(command, environment=self.environment, log=self.directory / log)

    def _wait_for_web(self) -> None:
        until(lambda: self._answers_or_died(self.web, "/healthz"), within=30, what="the web server answers /healthz")

    def _wait_for_engine(self, cluster: Process, before: set[Any]) -> None:
        until(lambda: self._has_more_engines(cluster, before), within=30, what="the cluster's engine has registered")

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def logs(self) -> str:
        """Return the end of each log, for the report of a failed test."""
        files = sorted(self.directory.glob("*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-6000:]}" for file in files)

    def _answers_or_died(self, process: Process | None, path: str) -> bool:
        assert process and process.is_alive, f"it ended\n{self.logs()}"
        try:
            self.get(path)
        except OSError:
            return False
        return True

    def _has_more_engines(self, cluster: Process, before: set[Any]) -> bool:
        assert cluster.is_alive, f"the cluster ended\n{self.logs()}"
        return bool(self._engines() - before)

    def _engines(self) -> set[Any]:
        return {row["id"] for row in self.query("SELECT id FROM executions_engine WHERE NOT is_stopping")}


@contextmanager
def copy_of(template: Installation, directory: Path, **settings: str) -> Iterator[Installation]:
    """Yield a copy with nothing started; what is started is killed after it."""
    copy = template.copy(directory, template.database.copy(directory), **settings)
    try:
        yield copy
    finally:
        copy.kill()
        copy.database.drop()

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
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.databases import Database, Row
from harness.hosts import Host
from harness.interpreter import Interpreter
from harness.processes import ROOT, STARTED_BY, Leftover, Process, end_leftovers, free_port, until, with_environment

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "TZ")
START_S = 30


class Installation:
    """One installation; `settings` are environment variables beyond those that the harness needs."""

    def __init__(self, directory: Path, database: Database, **settings: str) -> None:
        self.directory = directory
        self.database = database
        self.port = free_port()
        self.settings = {"OUTBOUND_ALLOW": "127.0.0.0/8", **settings}
        self.web: Process | None = None
        self.cluster: Process | None = None
        self.started: list[Process] = []
        self.interpreter: Interpreter | None = None
        self.prefix: list[str] = []  # of the command of each process: a program that runs the rest
        self.host: Host | None = None  # the machine of web server and cluster; None is this one
        self.address = "127.0.0.1"
        self.log_folder = directory  # of what the processes print

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    @property
    def name(self) -> str:
        return self.host.name if self.host else ""

    @property
    def backend(self) -> str:
        return self.database.url.partition(":")[0]

    @property
    def environment(self) -> dict[str, str]:
        test = {STARTED_BY: os.environ["PYTEST_CURRENT_TEST"]} if "PYTEST_CURRENT_TEST" in os.environ else {}
        return {name: os.environ[name] for name in KEPT if name in os.environ} | {
            "PYTHONUNBUFFERED": "1",
            **self.settings,
            "DATA_DIR": str(self.directory),
            "DATABASE_URL": self.database.url,
            "PORT": str(self.port),
            **test,
        }

    def copy(self, directory: Path, database: Database, **settings: str) -> Installation:
        """Return another installation with the same keys and static files."""
        for file in self.directory.glob("*.key*"):
            shutil.copy(file, directory)
        (directory / "static").symlink_to(self.directory / "static")
        return Installation(directory, database, **self.settings | settings)

    # --- the operator's commands

    def prepare(self) -> None:
        """Prepare the data as `make run` does before it starts the servers."""
        self._run([sys.executable, "-m", "agentos_site.keys"])
        self.manage("migrate", "-v", "0")
        if not (self.directory / "static").exists():
            self.manage("collectstatic", "--noinput", "-v", "0")

    def manage(self, *arguments: str, stdin: str = "") -> str:
        """Run `manage.py` against this installation and return its output; fail with the errors too."""
        return self._run([sys.executable, "manage.py", *arguments], stdin)

    def shell(self, code: str) -> str:
        """Run Python code in the installation's own process, with Django and the models at hand."""
        return self.manage("shell", "-v", "0", "-c", code)

    def python(self, code: str) -> str:
        """Do as `shell` does in one process that stays, one call after the other."""
        if self.interpreter is None:
            self.interpreter = Interpreter(self.environment, self.log_folder / "interpreter.log")
        return self.interpreter.run(code)

    def call(self, function: str, *arguments: Any, **more: Any) -> Any:
        """Call a function, named as "package.module.function", in that process; arguments and result are JSON."""
        module, _, name = function.rpartition(".")
        given = json.dumps([arguments, more])
        said = self.python(
            f"import json\nfrom {module} import {name}\n"
            f"arguments, more = json.loads({given!r})\nprint(json.dumps({name}(*arguments, **more)))"
        )
        return json.loads(said.splitlines()[-1])

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self.database.query(sql, parameters)

    @cached_property
    def demo(self) -> dict[str, Any]:
        """Return the output of `manage.py demo --json`; the first call makes the demo."""
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
        self.web, self.cluster = self.launch_web(), self.launch_cluster()
        self._wait_for_web(self.web)
        self._wait_for_engine(self.cluster, before)

    def start_web(self) -> Process:
        self.web = self.launch_web()
        self._wait_for_web(self.web)
        return self.web

    def start_cluster(self) -> Process:
        self.cluster = self._start_cluster("cluster.log")
        return self.cluster

    def start_another_cluster(self) -> Process:
        """Start one more cluster beside the first; the caller ends it."""
        return self._start_cluster("another-cluster.log")

    def start_service(self) -> Process:
        """Start web server and cluster as one service; the caller ends it."""
        before = self._engines()
        service = self.launch("service.log", "-m", "agentos_site")
        self._wait_for_web(service)
        self._wait_for_engine(service, before)
        return service

    def stop(self) -> None:
        """End web server and cluster side by side."""
        running = [process for process in (self.cluster, self.web) if process]
        for process in running:
            if process.is_alive:
                process.signal(signal.SIGTERM)
        for process in running:
            process.end()

    def kill(self) -> None:
        """Kill all processes without waiting for them to stop in order."""
        for process in self.started:
            process.kill()
        if self.interpreter:
            self.interpreter.kill()
        self.interpreter = None

    def launch(self, log: str, *arguments: str) -> Process:
        """Start a Python program with the installation's environment."""
        command = [*self.prefix, sys.executable, *arguments]
        process = Process(command, environment=self.environment, log=self.log_folder / log, place=self.host)
        self.started.append(process)
        return process

    def _start_cluster(self, log: str) -> Process:
        before = self._engines()
        process = self.launch_cluster(log)
        self._wait_for_engine(process, before)
        return process

    def launch_web(self) -> Process:
        return self.launch("web.log", "-m", "agentos_site.web")

    def launch_cluster(self, log: str = "cluster.log") -> Process:
        return self.launch(log, "manage.py", "qcluster")

    def _wait_for_web(self, web: Process) -> None:
        until(lambda: self._answers(web), within=START_S, what="the web server answers /healthz")

    def _wait_for_engine(self, cluster: Process, before: set[Any]) -> None:
        until(lambda: self._has_more_engines(cluster, before), within=START_S, what="the engine has registered")

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def why_not_ready(self) -> str:
        """Return the reason that /readyz gives; empty when the installation is ready."""
        try:
            return str(json.loads(self.get("/readyz")[1]).get("reason", ""))
        except OSError:
            return "The web server does not listen."

    def logs(self) -> str:
        """Return the end of each log, for the report of a failed test."""
        files = sorted(self.log_folder.glob("*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-6000:]}" for file in files)

    def _answers(self, web: Process) -> bool:
        assert web.is_alive, f"the web server ended\n{self.logs()}"
        return self.answers()

    def answers(self) -> bool:
        """Return whether the web server can be reached."""
        try:
            self.get("/healthz")
        except OSError:
            return False
        return True

    def _has_more_engines(self, cluster: Process, before: set[Any]) -> bool:
        assert cluster.is_alive, f"the cluster ended\n{self.logs()}"
        return bool(self._engines() - before)

    def _engines(self) -> set[Any]:
        return {row["id"] for row in self.query("SELECT id FROM executions_engine WHERE NOT is_stopping")}

    # --- what it leaves behind

    def strays(self) -> list[Leftover]:
        """Return processes with this data directory that do not belong to any process started here."""
        return with_environment(self._mark, apart_from=self._groups)

    def orphans(self) -> list[Leftover]:
        """Return processes with this data directory that have lost their parent."""
        found = with_environment(self._mark)
        known = {one.pid for one in found}
        return [one for one in found if one.parent not in known and one.pid not in self._groups]

    def check_leftovers(self) -> None:
        """Kill the strays and fail with their names, so that they disturb no later test and their test is known."""
        end_leftovers(self._mark, apart_from=self._groups)

    @property
    def _mark(self) -> dict[str, str]:
        return {"DATA_DIR": str(self.directory)}

    @property
    def _groups(self) -> set[int]:
        groups = {process.pid for process in self.started}
        return groups | {self.interpreter.popen.pid} if self.interpreter else groups


@contextmanager
def copy_of(template: Installation, directory: Path, **settings: str) -> Iterator[Installation]:
    """Yield a copy with nothing started, and end it as `ended` does."""
    copy = template.copy(directory, template.database.copy(directory), **settings)
    with ended(copy):
        yield copy


@contextmanager
def ended(installation: Installation, *, is_shared: bool = False) -> Iterator[None]:
    """Kill the started processes and the leftovers; a leftover is an error of the test that has the installation.

    In an installation that tests share it is a warning, because the last test need not be the one to blame.
    """
    try:
        yield
    finally:
        installation.kill()
        try:
            installation.check_leftovers()
        except AssertionError as left:
            if not is_shared:
                raise
            warnings.warn(str(left), stacklevel=1)
        finally:
            installation.database.drop()

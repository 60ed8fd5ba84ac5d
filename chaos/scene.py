"""The installation under attack: database, web server and cluster, and the echo server, which outlives them all."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from chaos import names, plan
from harness import postgresql
from harness.automations import Made, make
from harness.databases import Database, PostgresqlDatabase, SqliteDatabase
from harness.installation import Installation
from harness.processes import Process, descendants, free_port, is_running, until

USERS = 5


@dataclass
class Scene:
    directory: Path
    installation: Installation
    echo: Process
    echo_port: int
    server: postgresql.Server | None = None  # of PostgreSQL
    has_names: bool = False  # of its own
    made: Made = field(init=False)
    tokens: list[str] = field(init=False)
    schedule_asked_for: float = field(init=False)
    schedule_start: float = field(init=False)
    schedule_end: float = 0.0
    schedule_stopped: float = 0.0

    @property
    def effects(self) -> Path:
        return self.directory / "effects.jsonl"

    @property
    def mails(self) -> Path:
        return self.directory / "mails.jsonl"

    @property
    def echo_url(self) -> str:
        """Return the address that steps call: by name, if the trial has a name server."""
        host = names.KNOWN.decode() if self.has_names else "127.0.0.1"
        return f"http://{host}:{self.echo_port}"

    def arm(self, pids: list[int]) -> None:
        """Let the echo server kill these processes when it has recorded the next call, before it answers."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.echo_port}/-/arm", json.dumps(pids).encode())
        urllib.request.urlopen(request, timeout=5).close()

    def workers(self) -> list[int]:
        """Return the processes of this machine's engines."""
        rows = self.installation.query("SELECT pid FROM executions_engine ORDER BY pid")
        return [row["pid"] for row in rows if is_running(row["pid"])]

    @property
    def user(self) -> str:
        """Return the name of an owner, which is the password too."""
        return "chaos0"

    def memory_mb(self) -> float:
        """Return the memory of all processes; pages that several share count once."""
        pids = {process.pid for process in (self.installation.web, self.installation.cluster) if process}
        pids |= {child for pid in pids for child in descendants(pid)}
        return sum(map(_pss_mb, pids))

    def connections(self) -> int:
        if self.server is None:
            return 0
        sql = (
            "SELECT COUNT(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(self.installation.query(sql)[0]["n"])

    def start(self) -> None:
        self.installation.prepare()
        self.installation.start()
        steps = {name: kind.steps for name, kind in plan.KINDS.items()}
        self.made = make(self.installation, steps, direct_limit=None)
        self.schedule_asked_for = time.time()
        self.tokens = self.installation.call("chaos.inside.furnish", str(self.made.project), plan.CANARY, USERS)
        self.schedule_start = time.time()

    def stop_schedule(self) -> None:
        """Deactivate the scheduled automation, so that no execution starts while the checker reads."""
        self.schedule_end = time.time()
        self.installation.call("chaos.inside.stop_schedule")
        self.schedule_stopped = time.time()

    @property
    def schedule_kept(self) -> tuple[float, float]:
        return self.schedule_start, self.schedule_end or time.time()

    @property
    def schedule_possible(self) -> tuple[float, float]:
        return self.schedule_asked_for, self.schedule_stopped or time.time()

    def press_retry(self, execution_id: str, token: str) -> int:
        """Press Retry Execution as a user's machine would; return the answer's status, 0 when there was none."""
        url = f"{self.installation.url}/v1/projects/{self.made.project}/executions/{execution_id}/retry"
        headers = {"authtoken": token, "organization_uid": str(self.made.organization)}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, b"", headers), timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def end(installation: Installation) -> None:
    """End all processes; the trial has reported leftovers already."""
    installation.kill()
    with suppress(AssertionError):
        installation.check_leftovers()


@contextmanager
def scene(database: str, directory: Path, prepared: Installation | None = None) -> Iterator[Scene]:
    """Start everything in the directory, with keys and static files of `prepared`; leave no process behind."""
    with ExitStack() as stack:
        server = stack.enter_context(postgresql.server()) if database == "postgresql" else None
        made: Database = PostgresqlDatabase(server.url) if server else SqliteDatabase(directory)
        mail_port = free_port()
        settings = {
            "WORKERS": "2", "EXTRA_CONNECTORS": "harness.faulty", "EMAIL_URL": f"smtp://127.0.0.1:{mail_port}",
        }  # fmt: skip
        installation = (
            prepared.copy(directory, made, **settings) if prepared else Installation(directory, made, **settings)
        )
        stack.callback(end, installation)
        has_names = names.are_possible(directory)
        if has_names:
            installation.prefix = [sys.executable, "-m", "chaos.names", str(directory / "resolv.conf")]
        port = free_port()
        echo = Process(
            [sys.executable, "-m", "chaos.echo", str(port), str(directory / "effects.jsonl"),
             str(mail_port), str(directory / "mails.jsonl"), names.own_address() if has_names else ""],
            environment=os.environ, log=directory / "echo.log",
        )  # fmt: skip
        stack.callback(echo.kill)
        built = Scene(directory, installation, echo, port, server, has_names)
        until(lambda: _listens(built), what="the echo server listens")
        built.start()
        yield built


def _listens(built: Scene) -> bool:
    try:
        built.arm([])
    except OSError:
        return False
    return True

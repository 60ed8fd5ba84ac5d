"""One installation to measure: its own data, the real web server and cluster, and a stub to call."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.postgresql import PostgreSQL
from bench.processes import Group

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT_S = 30.0


class Installation:
    """Starts on entry, stops everything on exit, whatever happened in between."""

    def __init__(self, database: str, port: int, postgresql_port: int, database_url: str = "") -> None:
        self.database = database
        self.port = port
        self.stub_port = port + 1
        self.postgresql_port = postgresql_port
        self.database_url = database_url
        self.postgresql: PostgreSQL | None = None
        self._exits = ExitStack()

    def __enter__(self) -> Installation:
        try:
            self._start()
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def _start(self) -> None:
        self.directory = Path(self._exits.enter_context(TemporaryDirectory(prefix="agentos-bench-")))
        if self.database == "postgresql" and not self.database_url:
            self.postgresql = PostgreSQL(self.directory, self.postgresql_port)
            self._exits.callback(self.postgresql.stop)
            self.postgresql.create_database()
            self.database_url = self.postgresql.url
        self._set_environment()
        self._call("-m", "agentos_site.keys")
        self._call("manage.py", "migrate", "--verbosity", "0")

    def _set_environment(self) -> None:
        """Make this process, which reads the database through the models, see what the servers see."""
        os.environ.pop("DATABASE_URL", None)
        if self.database == "postgresql":
            os.environ["DATABASE_URL"] = self.database_url
        os.environ |= {
            "DATA_DIR": str(self.directory / "data"),
            "PORT": str(self.port),
            "OUTBOUND_ALLOW": f"127.0.0.1/32:{self.stub_port}",
            "LOG_LEVEL": "WARNING",
            "DJANGO_SETTINGS_MODULE": "agentos_site.settings",
        }

    def _call(self, *arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    def group(self, name: str, *arguments: str) -> Group:
        group = Group([sys.executable, *arguments], log=self.directory / f"{name}.log", env=os.environ, cwd=ROOT)
        self._exits.callback(group.stop)
        return group

    def start_web(self) -> None:
        self.web = self.group("web", "-m", "agentos_site.web")
        unknown = f"http://127.0.0.1:{self.port}/automations-api/run/{'0' * 32}"
        self.wait_for(lambda: _answers(unknown, 404), self.web, "the web server")

    def start_stub(self) -> None:
        self.stub = self.group("stub", "-m", "bench.stub", str(self.stub_port))
        self.wait_for(lambda: _answers(self.stub_url(0), 200), self.stub, "the stub")

    def start_cluster(self) -> None:
        """Start the cluster; it is ready when an engine shows (`Rows.has_engine`)."""
        self.cluster = self.group("cluster", "manage.py", "qcluster")

    @contextmanager
    def as_service(self) -> Iterator[None]:
        """Run both as one service for a while; afterwards each is itself again."""
        self.cluster.stop()
        self.web.stop()
        self.service = self.group("service", "-m", "agentos_site")
        self.wait_for(self.is_ready, self.service, "the service")
        yield
        self.service.stop()
        self.start_web()
        self.start_cluster()
        self.wait_for(self.is_ready, self.cluster, "the cluster")

    def is_ready(self) -> bool:
        return _answers(f"http://127.0.0.1:{self.port}/readyz", 200)

    def stub_url(self, delay_ms: int) -> str:
        return f"http://127.0.0.1:{self.stub_port}/?ms={delay_ms}"

    def wait_for(self, is_there: Callable[[], bool], group: Group, what: str) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while not is_there():
            group.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} did not start within {START_LIMIT_S:g} s: see {group.log}")
            time.sleep(0.05)


def _answers(url: str, status: int) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == status)
    except urllib.error.HTTPError as error:
        return error.code == status
    except OSError:
        return False

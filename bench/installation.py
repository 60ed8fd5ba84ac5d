"""One installation to measure: new data, the real web server and cluster, and a stub to call."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import usage
from harness import postgresql
from harness.databases import Database, PostgresqlDatabase, SqliteDatabase
from harness.installation import Installation
from harness.processes import Process, free_port, until

DATABASES = ("sqlite", "postgresql")


class Measured(Installation):
    """An installation whose CPU time is read; `server` is the PostgreSQL that was started for it, if any."""

    def __init__(self, directory: Path, database: Database, server: postgresql.Server | None) -> None:
        self.stub_port = free_port()
        allowed = f"127.0.0.1/32:{self.stub_port}"
        # What the caller's environment sets, such as WORKERS, is measured.
        super().__init__(directory, database, **os.environ | {"OUTBOUND_ALLOW": allowed, "LOG_LEVEL": "WARNING"})
        self.server = server

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU time that web server, cluster and PostgreSQL have used so far."""
        parts = {"web": self.web, "cluster": self.cluster, "postgres": self.server}
        return {name: usage.cpu_s(part.pid) for name, part in parts.items() if part}

    @contextmanager
    def as_service(self) -> Iterator[Process]:
        """Run web server and cluster as one service within the block, and separately again after it."""
        self.stop()
        service = self.start_service()
        yield service
        service.end()
        self.start()

    def start_stub(self) -> None:
        self.stub = self.launch("stub.log", "-m", "bench.stub", str(self.stub_port))
        until(lambda: self._stub_answers(self.stub), what="the stub answers")

    @contextmanager
    def without_stub(self) -> Iterator[None]:
        """Cut all calls that are open, and refuse others within the block."""
        self.stub.kill()
        self.started.remove(self.stub)
        yield
        self.start_stub()

    def stub_url(self, delay_ms: int) -> str:
        return f"http://127.0.0.1:{self.stub_port}/?ms={delay_ms}"

    def _stub_answers(self, stub: Process) -> bool:
        assert stub.is_alive, stub.output
        try:
            urllib.request.urlopen(self.stub_url(0), timeout=5).close()
        except OSError:
            return False
        return True


@contextmanager
def measured(database: str) -> Iterator[Measured]:
    """Yield an installation with nothing started, and set this process up to read its database through the models.

    It is on a PostgreSQL of its own, or in a database of its own on the server of DATABASE_URL, or on SQLite.
    """
    with ExitStack() as exits:
        directory = Path(exits.enter_context(TemporaryDirectory(prefix="agentos-bench-")))
        server, place = None, os.environ.pop("DATABASE_URL", "")
        if database == "postgresql" and not place:
            server = exits.enter_context(postgresql.server(connections=None))
            place = server.url
        made = PostgresqlDatabase(place) if database == "postgresql" else SqliteDatabase(directory)
        exits.callback(made.drop)
        installation = Measured(directory, made, server)
        exits.callback(installation.kill)
        exits.callback(installation.stop)
        installation.prepare()
        os.environ |= installation.environment | {"DJANGO_SETTINGS_MODULE": "agentos_site.settings"}
        yield installation

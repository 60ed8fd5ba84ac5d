"""A primary PostgreSQL and a standby that follows it, to be killed and promoted: `with pair() as one`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from harness.postgresql import LOOPBACK, START_S, Server
from harness.processes import descendants, is_running, until

LEAVES_NOTHING = {"dynamic_shared_memory_type": "mmap"}  # files in its folder, which go with it when it is killed
FOLLOWER = "walreceiver"  # as which a standby names itself to its primary


class Standby(Server):
    """A copy of a running primary, which follows it until it is promoted."""

    def __init__(self, directory: Path, primary: Server, *, is_durable: bool = True, port: int | None = None) -> None:
        self.primary = primary
        super().__init__(directory, is_durable=is_durable, address=primary.address, port=port, more=LEAVES_NOTHING)

    def make(self) -> None:
        self.run("pg_basebackup", "-d", self.primary.url, "-R", "-X", "stream", "-c", "fast", "--no-sync")


class Pair:
    """A primary and its standby on loopback, or at an address for its network.

    With `is_synchronous` the primary confirms a commit once the standby has it too, and waits while the standby is
    away; else it does not wait. `url` is a client's: it finds whichever of the two takes writes.
    """

    def __init__(
        self,
        stack: ExitStack,
        directory: Path,
        *,
        is_synchronous: bool,
        is_durable: bool,
        address: str = LOOPBACK,
    ) -> None:
        self.stack, self.directory, self.is_synchronous, self.is_durable = stack, directory, is_synchronous, is_durable
        self.primary = Server(self._home(), is_durable=is_durable, address=address, more=LEAVES_NOTHING)
        stack.callback(end, self.primary)
        self.primary.start()
        self._add_standby()

    def _home(self) -> Path:
        home = self.directory / f"server-{len(list(self.directory.iterdir())) + 1}"
        home.mkdir()
        return home

    def _add_standby(self, port: int | None = None) -> None:
        self.standby = Standby(self._home(), self.primary, is_durable=self.is_durable, port=port)
        self.stack.callback(end, self.standby)
        self.standby.start()
        until(self.followers, within=START_S, what="the standby follows the primary")
        if self.is_synchronous:
            self.ask(f"ALTER SYSTEM SET synchronous_standby_names = '{FOLLOWER}'")
            self.ask("SELECT pg_reload_conf()")
            until(lambda: "sync" in self.followers(), within=START_S, what="commits wait for the standby")

    @property
    def url(self) -> str:
        hosts = ",".join(f"{server.address}:{server.port}" for server in (self.primary, self.standby))
        return f"postgresql://agentos@{hosts}/postgres?target_session_attrs=read-write"

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement on the primary, committed at once, and return its rows."""
        with psycopg.connect(self.primary.url, autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def followers(self) -> list[str]:
        """Return how each standby receives the primary's log: `sync` or `async`."""
        return [row[0] for row in self.ask("SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'")]

    def kill_primary(self) -> None:
        """Kill all processes of the primary, as when its machine loses power, for good."""
        kill(self.primary)

    def promote(self) -> None:
        """Make the standby the primary; return once it takes writes."""
        self.standby.run("pg_ctl", "-t", START_S, "-w", "promote")

    def replace_primary(self) -> None:
        """After `promote`, give the new primary a standby in the place and at the port of the one that was killed."""
        gone, self.primary = self.primary, self.standby
        self._add_standby(gone.port)


def kill(server: Server) -> None:
    """Send SIGKILL to all processes of a server, and return once they are gone."""
    main = server.pid
    os.kill(main, signal.SIGSTOP)  # it starts no more
    pids = {main} | descendants(main)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not any(map(is_running, pids)), what="the server is gone")
    segment = (server.data / "postmaster.pid").read_text().splitlines()[6].split()[1]
    subprocess.run(["ipcrm", "-m", segment], check=False)  # 56 bytes, which the system would keep


def end(server: Server) -> None:
    """Stop a server that runs."""
    with suppress(FileNotFoundError):  # it is stopped
        if is_running(server.pid):
            server.stop()


@contextmanager
def pair(*, is_synchronous: bool = True, is_durable: bool = True, address: str = LOOPBACK) -> Iterator[Pair]:
    """Run a primary and its standby within the block; raise Missing."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="agentos-pair-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        directory.chmod(0o755)  # the user who runs the servers must get through
        yield Pair(stack, directory, is_synchronous=is_synchronous, is_durable=is_durable, address=address)

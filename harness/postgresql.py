"""A throw-away PostgreSQL from the installed binaries: `with postgresql() as url`."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.processes import free_port

OLDEST = 15
START_S = 30
LOOPBACK = "127.0.0.1"
CONNECTIONS = 200  # of many installations at once; the server's own default is 100


class Missing(Exception):
    """No PostgreSQL can be started here; the text names the missing part."""


def binaries() -> Path:
    """Return the folder of the newest installed server programs; raise Missing."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    folders = [folder for folder in folders if int(folder.parent.name) >= OLDEST]
    if folders:
        return max(folders, key=lambda folder: int(folder.parent.name))
    if (found := shutil.which("initdb")) and shutil.which("pg_ctl"):
        return Path(found).resolve().parent
    raise Missing(f"PostgreSQL {OLDEST} or newer is not installed")


def owner() -> str | None:
    """Return the user that runs the server, as PostgreSQL refuses root; None is the present user."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise Missing("PostgreSQL cannot run as root, and there is no user postgres")


class Server:
    """A new, empty server on loopback, or at an address for its network (/24); it may be stopped hard and begun anew.

    Its settings are the stock ones but for `connections`, and for one that is not durable: that answers before the
    disk has it, which saves minutes where each test empties all tables. `more` are further ones.
    """

    def __init__(
        self,
        directory: Path,
        *,
        is_durable: bool = True,
        connections: int | None = CONNECTIONS,
        address: str = LOOPBACK,
        port: int | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        self.programs, self.user = binaries(), owner()
        self.directory, self.data = directory, directory / "data"
        if self.user:
            shutil.chown(directory, self.user)
        self.make()
        self.port = port or free_port()
        settings = {"fsync": None if is_durable else "off", "max_connections": connections, **(more or {})}
        given = [f"-c {name}={value}" for name, value in settings.items() if value is not None]
        self.address = address
        if address != LOOPBACK:
            with (self.data / "pg_hba.conf").open("a") as rules:
                rules.writelines(f"host {what} all {address}/24 trust\n" for what in ("all", "replication"))
        self.options = " ".join([f"-p {self.port} -h {address} -k {directory}", *given])

    @property
    def url(self) -> str:
        return f"postgresql://agentos@{self.address}:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """Return the process from which all others of the running server descend."""
        return int((self.data / "postmaster.pid").read_text().splitlines()[0])

    def make(self) -> None:
        """Make the server's files."""
        self.run("initdb", "-U", "agentos", "-A", "trust", "-E", "UTF8", "--locale=C")

    def start(self) -> None:
        self.run("pg_ctl", "-l", self.directory / "log", "-t", START_S, "-w", "-o", self.options, "start")

    def stop(self) -> None:
        """Stop as a crash would; the next start recovers unwritten data from the log."""
        self.run("pg_ctl", "-t", START_S, "-m", "immediate", "-w", "stop")

    def run(self, program: str, *arguments: object) -> None:
        """Run a program of PostgreSQL on the server's files; raise Missing with what it says when it fails."""
        _run(self.programs / program, "-D", self.data, *arguments, user=self.user)

    def output(self, client: str, *arguments: str, given: bytes = b"") -> bytes:
        """Run one of PostgreSQL's clients and return its output."""
        return subprocess.run([self.programs / client, *arguments], input=given, capture_output=True, check=True).stdout


@contextmanager
def server(
    *, is_durable: bool = True, connections: int | None = CONNECTIONS, address: str = LOOPBACK
) -> Iterator[Server]:
    """Run a new server within the block; raise Missing."""
    directory = Path(tempfile.mkdtemp(prefix="agentos-postgresql-"))
    try:
        made = Server(directory, is_durable=is_durable, connections=connections, address=address)
        made.start()
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def postgresql(*, is_durable: bool = True) -> Iterator[str]:
    """Run a new server within the block and yield its URL; raise Missing."""
    with server(is_durable=is_durable) as made:
        yield made.url


def _run(*command: object, user: str | None) -> None:
    """Run a program of PostgreSQL in a session of its own, so that Ctrl-C does not reach the server."""
    arguments = [str(part) for part in command]
    with tempfile.TemporaryFile() as output:  # not a pipe: the server that pg_ctl starts would keep it open
        done = subprocess.run(
            arguments,
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
            cwd="/",
            start_new_session=True,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
    if done.returncode:
        raise Missing(f"{Path(arguments[0]).name} failed: {said}")

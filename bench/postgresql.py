"""A throw-away PostgreSQL cluster with stock settings."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from bench.processes import Group


class NoPostgreSQL(Exception):
    """There is no PostgreSQL to measure on."""


def binaries() -> Path:
    """Return the directory of the newest installed server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    raise NoPostgreSQL("no PostgreSQL server is installed and DATABASE_URL is not set")


class PostgreSQL:
    """One cluster on a loopback port; `group` is its processes."""

    def __init__(self, directory: Path, port: int) -> None:
        self.bin = binaries()
        self.port = port
        self.data = directory / "postgresql"
        self.data.mkdir()
        self.user = _user()
        if "user" in self.user:
            shutil.chown(self.data, "postgres", "postgres")
            directory.chmod(0o711)
        self._run(
            "initdb",
            "--pgdata",
            str(self.data),
            "--auth",
            "trust",
            "--username",
            "postgres",
            "--no-locale",
            "-E",
            "UTF8",
        )
        options = ["-D", str(self.data), "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", str(self.data)]
        self.group = Group(
            [str(self.bin / "postgres"), *options], log=directory / "postgresql.log", env=os.environ, **self.user
        )

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/agentos"

    def create_database(self) -> None:
        """Ask through its own socket: on the port another server may answer."""
        deadline = time.monotonic() + 20
        place = ["-h", str(self.data), "-p", str(self.port), "-U", "postgres"]
        while self._try("pg_isready", *place):
            self.group.check()
            if time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL did not start")
            time.sleep(0.1)
        self._run("createdb", *place, "agentos")

    def stop(self) -> None:
        self.group.stop(first=signal.SIGINT)  # fast: ends sessions, then shuts down

    def _try(self, program: str, *arguments: str) -> int:
        command = [str(self.bin / program), *arguments]
        return subprocess.run(command, capture_output=True, check=False, **self.user).returncode

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.bin / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self.user)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()}")


def _user() -> dict[str, Any]:
    """Return whom to run it as: the server refuses root."""
    if os.geteuid() == 0:
        return {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": "/"}
    return {"cwd": "/"}

"""PgBouncer in front of a PostgreSQL: `with pgbouncer(url, "transaction") as pooled_url`."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from harness.postgresql import Missing, owner
from harness.processes import Process, free_port, until

SETTINGS = """\
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
"""


@contextmanager
def pgbouncer(url: str, mode: str) -> Iterator[str]:
    """Run PgBouncer within the block, and yield the URL of the same database through it; raise Missing."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if not program:
        raise Missing("PgBouncer is not installed")
    server, port = urlsplit(url), free_port()
    directory = Path(tempfile.mkdtemp(prefix="agentos-pgbouncer-"))
    given = {"host": server.hostname, "port": server.port, "user": server.username}
    (directory / "ini").write_text(SETTINGS.format(**given, own_port=port, mode=mode))
    user = owner()
    if user:  # like PostgreSQL it refuses to run as root
        for path in (directory, directory / "ini"):
            os.chown(path, pwd.getpwnam(user).pw_uid, -1)
    command = [program, *(["-u", user] if user else []), str(directory / "ini")]
    process = Process(command, environment=os.environ, log=directory / "log")
    pooled = f"postgresql://{server.username}@127.0.0.1:{port}{server.path}"
    try:
        until(lambda: _answers(pooled, process), what="PgBouncer answers")
        yield pooled
    finally:
        process.end(within=5)
        shutil.rmtree(directory, ignore_errors=True)


def _answers(url: str, process: Process) -> bool:
    assert process.is_alive, process.output
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True

"""A PostgreSQL server whose connections end at the worst moment."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

import psycopg
from django.db import connection


def end_connections() -> None:
    """Have the server end all connections to this database, as a restart would, while nobody uses them."""
    connection.ensure_connection()
    parameters = connection.get_connection_params()
    with psycopg.connect(**{key: parameters[key] for key in ("dbname", "user", "host", "port")}) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


class CutAtCommit:
    """Passes everything on; once the first COMMIT has reached the server, no answer comes back any more.

    With `behind` it is the first COMMIT of a connection that has sent these bytes before. The client's connection ends
    when the server answers, or before by `cut`. With `for_good` nobody is connected from then on.
    """

    def __init__(self, host: str, port: int, *, behind: bytes = b"", for_good: bool = False) -> None:
        self.server = (host, port)
        self.behind, self.for_good = behind, for_good
        self.doomed: socket.socket | None = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.is_cut = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    def cut(self) -> None:
        """End the client's connection while the server is still at its COMMIT."""
        assert self.doomed
        self.doomed.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.is_cut and self.for_good:
                client.close()
                continue
            server = socket.create_connection(self.server)
            is_doomed = threading.Event()
            threading.Thread(target=self._pass_on, args=(client, server, is_doomed), daemon=True).start()
            threading.Thread(target=self._pass_back, args=(server, client, is_doomed), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket, is_doomed: threading.Event) -> None:
        is_behind = False
        with suppress(OSError):
            while asked := client.recv(65536):
                is_behind = is_behind or self.behind in asked
                if is_behind and b"COMMIT" in asked and not self.is_cut:
                    self.is_cut = True
                    self.doomed = client
                    is_doomed.set()
                server.sendall(asked)
            server.shutdown(socket.SHUT_RDWR)  # wakes the other thread, whose read keeps the connection open
        server.close()

    def _pass_back(self, server: socket.socket, client: socket.socket, is_doomed: threading.Event) -> None:
        with suppress(OSError):
            while (answered := server.recv(65536)) and not is_doomed.is_set():
                client.sendall(answered)
            client.shutdown(socket.SHUT_RDWR)


@contextmanager
def cut_at_commit(*, behind: bytes = b"", for_good: bool = False) -> Iterator[CutAtCommit]:
    """Connect this thread, and new connections of others, through what loses the answer to their next commit."""
    settings = connection.settings_dict
    address = {key: settings[key] for key in ("HOST", "PORT")}
    connection.close()
    with CutAtCommit(settings["HOST"], int(settings["PORT"]), behind=behind, for_good=for_good) as way:
        settings |= {"HOST": "127.0.0.1", "PORT": way.port}
        try:
            yield way
        finally:
            connection.close()
            settings |= address

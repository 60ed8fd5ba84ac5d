"""A way to a PostgreSQL server that is cut at the worst moment."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class CutAtCommit:
    """Passes everything on; once the first COMMIT has reached the server, no answer comes back any more."""

    def __init__(self, host: str, port: int) -> None:
        self.server = (host, port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.is_cut = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.server)
            is_doomed = threading.Event()
            threading.Thread(target=self._pass_on, args=(client, server, is_doomed), daemon=True).start()
            threading.Thread(target=self._pass_back, args=(server, client, is_doomed), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket, is_doomed: threading.Event) -> None:
        with suppress(OSError):
            while asked := client.recv(65536):
                if b"COMMIT" in asked and not self.is_cut:
                    self.is_cut = True
                    is_doomed.set()
                server.sendall(asked)
        server.close()

    def _pass_back(self, server: socket.socket, client: socket.socket, is_doomed: threading.Event) -> None:
        with suppress(OSError):
            while (answered := server.recv(65536)) and not is_doomed.is_set():
                client.sendall(answered)
            client.shutdown(socket.SHUT_RDWR)

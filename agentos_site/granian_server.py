"""granian's server, changed in two things: the listening socket, and what a signal may interrupt."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from granian._granian import SocketHolder
from granian.server.mp import MPServer

from agentos_site import environment

APPLICATION = "agentos_site.asgi:application"


class Server(MPServer):
    """A server whose worker takes connections from a socket that the main process holds, in place of its own.

    While a worker that died is replaced, connections wait.
    """

    def __init__(self, listening: int, **options: Any) -> None:
        super().__init__(APPLICATION, environment.HOST.read(), environment.PORT.read(), **options)
        self.listening = listening
        self.main_loop_interrupt = Latch()  # type: ignore[assignment]

    def _init_shared_socket(self) -> None:
        self._sso = None
        self._shd = SocketHolder(self.listening, False, self.backlog)  # type: ignore[assignment, call-arg]


class Latch:
    """An event that a signal handler may set at any moment; threading.Event's lock may be taken then, for good."""

    def __init__(self) -> None:
        self._closed = threading.Lock()
        self._closed.acquire()

    def set(self) -> None:
        with suppress(RuntimeError):  # it is set
            self._closed.release()

    def clear(self) -> None:
        self._closed.acquire(blocking=False)

    def wait(self) -> None:
        self._closed.acquire()
        self.set()

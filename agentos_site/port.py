"""The web server's port: bound by the main process, taken over by its worker, left early in a stop."""

from __future__ import annotations

import errno
import socket
import sys
import time

from agentos_site import environment

BACKLOG = 4096  # connections that wait in the kernel
WAIT_S = 2.0  # seconds for a server that has just stopped to leave the port
TICK_S = 0.05

listening: socket.socket | None = None  # of this process and its worker


def take() -> int:
    """Listen on HOST and PORT and return the socket's number; exit with the reason if they cannot be had.

    granian's own socket would share the port with every other server of the account, who would get some requests.
    """
    global listening
    listening = _listen()
    return listening.fileno()


def check() -> None:
    """Exit with the reason if HOST and PORT cannot be had."""
    _listen().close()


def _listen() -> socket.socket:
    host, port = environment.HOST.read(), environment.PORT.read()
    deadline = time.monotonic() + WAIT_S
    while True:
        found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((host, port))
            found.listen(BACKLOG)
            return found
        except OSError as error:
            found.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                sys.exit(f"Port {port} of {host} cannot be used ({error.strerror}). Stop the program that holds it, or "
                         f"choose another port, as with PORT={port % 65535 + 1}.")  # fmt: skip
        time.sleep(TICK_S)


def take_over() -> None:
    """Hold the port in the worker by a number of its own: granian closes the one that it was given."""
    global listening
    if listening is not None:
        given, listening = listening, listening.dup()
        given.detach()


def leave() -> None:
    """Listen no longer, in the worker and in the main process; who waits to be taken is refused."""
    if listening is not None:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()

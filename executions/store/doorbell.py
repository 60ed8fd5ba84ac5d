"""The doorbell of SQLite, where all processes share one machine: a socket for each listener, a folder for each kind.

A process that commits rings every socket in the folder, and removes the socket of a listener that is gone. It lists the
folder only when the folder has changed. Where sockets do not work, `executions.store.wake` still notices the commit by
`data_version`, only later.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress

from django.conf import settings

from projects.ids import new_id

SETTLED_NS = 100_000_000  # the clock of file systems ticks slower: a folder may change twice at the same time

_ringer = threading.local()  # holds a sending socket for each thread


class Doorbell:
    """A listener's socket, in the folder of its kind."""

    def __init__(self, kind: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        folder = _folder(kind)
        os.makedirs(folder, exist_ok=True)
        self.path = f"{folder}/{new_id()}"
        self.socket.bind(_address(self.path))

    def wait(self, seconds: float) -> int | None:
        """Return the number of the first ring within `seconds`, or None when nobody rings."""
        self.socket.settimeout(seconds)
        try:
            number = self.socket.recv(1)[0]
        except TimeoutError:
            return None
        self.socket.setblocking(False)
        with suppress(BlockingIOError):
            while self.socket.recv(1):  # one look at the database answers all rings so far
                pass
        return number

    def close(self) -> None:
        self.socket.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)


def ring(kind: str, number: int) -> None:
    """Ring all listeners of a kind with a number from 0 to 255, without waiting for any of them.

    No error reaches the caller, whose commit has taken place; an unheard listener looks by itself.
    """
    with suppress(OSError):
        message = bytes((number,))
        for path, address in _listeners(_folder(kind)):
            _ring(path, address, message)


def _ring(path: str, address: str, message: bytes) -> None:
    try:
        _sending_socket().sendto(message, address)
    except ConnectionRefusedError:
        with suppress(OSError):  # another process has removed it, or may alone do so
            os.unlink(path)
    except OSError:
        pass  # the listener's queue is full, so it wakes anyway; or the listener has just left


_listings: dict[str, tuple[int, list[tuple[str, str]]]] = {}  # by folder: when it changed, and its sockets since


def _listeners(folder: str) -> list[tuple[str, str]]:
    """Return path and address of each listener's socket."""
    changed_at = os.stat(folder).st_mtime_ns
    known_at, listeners = _listings.get(folder, (0, []))
    if known_at == changed_at:
        return listeners
    paths = [f"{folder}/{name}" for name in os.listdir(folder)]
    listeners = [(path, _address(path)) for path in paths]
    if time.time_ns() - changed_at > SETTLED_NS:
        _listings[folder] = (changed_at, listeners)
    return listeners


def _sending_socket() -> socket.socket:
    if not hasattr(_ringer, "socket"):
        _ringer.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        _ringer.socket.setblocking(False)
    sending: socket.socket = _ringer.socket
    return sending


def _folder(kind: str) -> str:
    return f"{settings.DATA_DIR}/doorbells/{kind}"  # no Path: this is asked at each commit


_folder_descriptors: dict[str, int] = {}


def _address(path: str) -> str:
    """Return an address of the path within the 108 bytes that Linux allows a socket's, however deep the folder lies.

    A long path is named through an open descriptor of its folder.
    """
    if len(path.encode()) < 100:
        return path
    folder, _, name = path.rpartition("/")
    if folder not in _folder_descriptors:
        _folder_descriptors[folder] = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    return f"/proc/self/fd/{_folder_descriptors[folder]}/{name}"

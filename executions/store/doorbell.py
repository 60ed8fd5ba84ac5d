"""The doorbell of SQLite, where all processes share one machine: a socket for each who waits, a folder for each kind.

Whoever commits rings them all; a process that is gone is taken off the door. Where sockets do not work, the look at
`data_version` (executions/wake.py) still wakes, only later.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from projects.ids import new_id

_ringer = threading.local()


class Doorbell:
    """One listener's end."""

    def __init__(self, kind: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        folder = _folder(kind)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / str(new_id())
        self.socket.bind(_short(self.path))

    def wait(self, seconds: float) -> int | None:
        """Return the number that somebody has rung with, or None when the time is over."""
        self.socket.settimeout(seconds)
        try:
            number = self.socket.recv(1)[0]
        except TimeoutError:
            return None
        self.socket.setblocking(False)
        with suppress(BlockingIOError):
            while self.socket.recv(1):  # one look answers all who rang
                pass
        return number

    def close(self) -> None:
        self.socket.close()
        self.path.unlink(missing_ok=True)


def ring(kind: str, number: int) -> None:
    folder = _folder(kind)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        _ring(folder / name, bytes([number]))


def _ring(path: Path, message: bytes) -> None:
    try:
        _socket().sendto(message, _short(path))
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
    except OSError:
        pass  # its queue is full, so it will wake; or it has just left


def _socket() -> socket.socket:
    if not hasattr(_ringer, "socket"):
        _ringer.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        _ringer.socket.setblocking(False)
    found: socket.socket = _ringer.socket
    return found


def _folder(kind: str) -> Path:
    return Path(settings.DATA_DIR) / "doorbells" / kind


_folders: dict[Path, int] = {}


def _short(path: Path) -> str:
    """Return a name for the path that fits into the 108 bytes of a socket's address, however deep the folder lies."""
    text = str(path)
    if len(text.encode()) < 100:
        return text
    if path.parent not in _folders:
        _folders[path.parent] = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    return f"/proc/self/fd/{_folders[path.parent]}/{path.name}"

"""A disk of its own for a folder, whose room can be taken away. Root only."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOM = "4g"  # memory is used only for what is written


class Disk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _run("mount", "-t", "tmpfs", "-o", f"size={ROOM},mode=700", "tmpfs", str(folder))

    def fill(self) -> None:
        """Leave no room for another byte."""
        found = os.statvfs(self.folder)
        self._resize(str((found.f_blocks - found.f_bfree) * found.f_frsize))

    def free(self) -> None:
        self._resize(ROOM)

    def _resize(self, size: str) -> None:
        _run("mount", "-o", f"remount,size={size}", str(self.folder))

    def end(self) -> None:
        """Take the disk away, and keep the database that it held."""
        kept = self.folder.parent / f"{self.folder.name}-kept"
        for file in self.folder.glob("*.sqlite3*"):
            kept.mkdir(exist_ok=True)
            shutil.copy(file, kept)
        _run("umount", "--lazy", str(self.folder))


@contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    folder.mkdir(mode=0o700, exist_ok=True)
    made = Disk(folder)
    try:
        yield made
    finally:
        made.end()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)

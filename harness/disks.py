"""A disk of its own for a folder, which can be full: a file system in a file beside it. Root only."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOM = 4 << 30  # bytes; the file takes what is written
BLOCK = 4096


class Missing(Exception):
    """No disk can be made here; the text names the reason."""


class Disk:
    def __init__(self, folder: Path) -> None:
        self.folder, self.image = folder, folder.with_name(f"{folder.name}.img")
        self.filling = folder / "filling"
        with self.image.open("wb") as file:
            file.truncate(ROOM)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(self.image))
        _run("mount", "-o", "loop", str(self.image), str(folder))
        folder.chmod(0o700)

    def fill(self) -> None:
        """Leave no room for another block, whatever others write meanwhile."""
        with self.filling.open("wb") as file:
            end, size = 0, ROOM
            while size >= BLOCK:
                try:
                    os.posix_fallocate(file.fileno(), end, size)
                    end += size
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def free(self) -> None:
        self.filling.unlink()

    def end(self) -> None:
        """Take the disk away, and keep the database that it held."""
        kept = self.folder.with_name(f"{self.folder.name}-kept")
        for file in self.folder.glob("*.sqlite3*"):
            kept.mkdir(exist_ok=True)
            shutil.copy(file, kept)
        _run("umount", "--lazy", str(self.folder))
        self.image.unlink()


@contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    """Give the empty folder a disk within the block; raise Missing."""
    made = Disk(folder)
    try:
        yield made
    finally:
        made.end()


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise Missing(f"{command[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        raise Missing(f"{command[0]}: {error.stderr.strip()}") from None

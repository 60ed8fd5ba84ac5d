"""Files and folders that are there whole or not at all: written beside their place, on the disk, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_folder(place: Path) -> Iterator[Path]:
    """Yield a folder to fill, private to its owner; at the end of the block it is at its place, which must be free.

    An error removes it. A process that is killed leaves it beside its place, under a name that ends with `.part`.
    """
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    part.mkdir(mode=0o700, parents=True)
    try:
        yield part
        for path in (*part.rglob("*"), part):
            sync(path)
        part.rename(place)  # fails where a folder with files has come meanwhile
        sync(place.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


@contextmanager
def new_file(place: Path) -> Iterator[Path]:
    """Yield the path of a file to write; at the end of the block it replaces what is at its place."""
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        yield part
        sync(part)
        part.replace(place)
        sync(place.parent)
    finally:
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Return when a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

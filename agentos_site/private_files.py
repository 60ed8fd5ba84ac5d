"""Files that only their owner may read: those that a process makes, and those that are there already.

The data folder holds sessions, password hashes, keys and payloads. Whoever reads a session's key is signed in with it.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from agentos_site import environment

OWNER_ONLY = 0o077  # the permissions that a new file does not get
SQLITE_ENDINGS = ("", "-wal", "-shm", "-journal")

logger = logging.getLogger(__name__)


def keep_private() -> None:
    """Make all files that this process writes private, and take from those of the installation what others may do.

    Call it before anything is written, and before DJANGO_SETTINGS_MODULE is loaded: the log then gets plain lines.
    """
    os.umask(OWNER_ONLY)
    folder = environment.DATA_DIR.read()
    mended = sum(_mend(path) for path in _files(folder))
    if mended:
        logger.warning(
            "Other accounts of this machine could read %s files or folders in %s; now only their owner can.",
            mended, folder,
        )  # fmt: skip


def _files(folder: Path) -> Iterator[Path]:
    """Yield the data folder, all that is in it, and the SQLite file wherever it lies; no target of a symbolic link."""
    if folder.is_dir():
        yield folder  # first: from then on nobody else can exchange what is inside
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))
    scheme, _, place = environment.DATABASE_URL.read().partition("?")[0].partition(":///")
    if scheme == "sqlite" and not Path(place).is_relative_to(folder):
        yield from (Path(place + ending) for ending in SQLITE_ENDINGS)


def _mend(path: Path) -> bool:
    """Take the permissions of group and others; return whether there were any."""
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode) or not found.st_mode & OWNER_ONLY:
            return False
        path.chmod(stat.S_IMODE(found.st_mode) & ~OWNER_ONLY)
    except FileNotFoundError:  # SQLite and engines remove theirs at any time
        return False
    except OSError as error:
        logger.warning("Other accounts may read %s, and AgentOS cannot change that: %s.", path, error.strerror)
        return False
    return True

"""Where the data lies: a name that no copy of it shares, although restarts, mounts and renamed folders keep it.

Decision 0059 (docs/decisions/0059-what-a-copy-is-known-by.md) gives the reasons.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from pathlib import Path

from django.db import connection

# Of statx(2), from <linux/stat.h>.
AT_FDCWD, STATX_BTIME, STATX_SIZE, BTIME_OFFSET = -100, 0x800, 256, 80


def home() -> str:
    """Return the name of the place of the database, its parts separated by colons; an empty part is not known.

    SQLite: inode and time of birth of the file. PostgreSQL: identifier of the server's data and OID of the database.
    """
    if connection.vendor == "sqlite":
        path = os.fspath(connection.settings_dict["NAME"])
        return f"sqlite:{os.stat(path).st_ino}:{_born(path)}"
    return (
        f"postgresql:{_system_identifier()}:{_asked('SELECT oid FROM pg_database WHERE datname = current_database()')}"
    )


def is_same(one: str, other: str) -> bool:
    """Return whether two names mean the same place, as far as their parts are known."""
    pairs = list(zip(one.split(":"), other.split(":"), strict=False))
    return len(pairs) == 3 and all(first == second or "" in (first, second) for first, second in pairs)


def place() -> str:
    """Return the place of the database in words."""
    given = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"{Path(given['NAME']).resolve()} on {platform.node()}"
    return f"the database {given['NAME']} on {given['HOST'] or 'this machine'}"


def _system_identifier() -> str:
    """Return the identifier that initdb gave the server's data; "" where the role may not ask for it."""
    if not _asked("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"):
        return ""
    return str(_asked("SELECT system_identifier FROM pg_control_system()"))


def _asked(sql: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def _born(path: str) -> str:
    """Return when the file was made, in nanoseconds: no copy has it, and nothing changes it; "" if it is not known."""
    if sys.platform != "linux":
        return str(getattr(os.stat(path), "st_birthtime_ns", ""))
    answer = ctypes.create_string_buffer(STATX_SIZE)
    try:
        failed = ctypes.CDLL(None).statx(AT_FDCWD, os.fsencode(path), 0, STATX_BTIME, answer)
    except AttributeError:  # a C library from before 2018
        return ""
    mask, seconds, nanoseconds = (*struct.unpack_from("I", answer), *struct.unpack_from("qI", answer, BTIME_OFFSET))
    return "" if failed or not mask & STATX_BTIME else str(seconds * 10**9 + nanoseconds)

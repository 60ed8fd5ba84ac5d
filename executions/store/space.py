"""The free pages of SQLite's file: new rows reuse them, and beyond a tenth of the file they go back to the disk.

`auto_vacuum=INCREMENTAL` gives pages back in small steps, each a short write transaction, without a second copy of
the file. A migration sets it and rewrites the file once, which costs nothing while the file is new; setting it for
each connection would cost a write for each connection.
"""

from __future__ import annotations

from django.db import connection

INCREMENTAL = 2  # the number of this mode in PRAGMA auto_vacuum
KEPT_SHARE = 10  # one page in ten stays free for new rows


def give_back(limit: int) -> int:
    """Give up to `limit` pages back while more than a tenth of the file is free; return their number.

    Return 0 once no more than a tenth is free, and always on PostgreSQL.
    """
    if connection.vendor != "sqlite" or _read("auto_vacuum") != INCREMENTAL:
        return 0
    surplus = min(limit, _read("freelist_count") - _read("page_count") // KEPT_SHARE)
    if surplus <= 0:
        return 0
    with connection.cursor() as cursor:
        # SQLite gives one page back for each row that is fetched.
        cursor.execute(f"PRAGMA incremental_vacuum({surplus})").fetchall()
    return surplus


def prepare() -> None:
    """Let pages be given back from now on: rewrite the file once, which needs its size again on the disk meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA auto_vacuum={INCREMENTAL}")
        cursor.execute("VACUUM")


def _read(name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {name}")
        return int(cursor.fetchone()[0])

"""What removed rows leave in SQLite's file: reused by new rows, and given back where it is more than a tenth of it.

`auto_vacuum=INCREMENTAL` lets pages be given back in small steps, each a short write transaction, without a second
copy of the file. A migration says it and rewrites the file once, which costs nothing while the file is new; saying it
for each connection would be a write for each connection.
"""

from __future__ import annotations

from django.db import connection

INCREMENTAL = 2
KEPT = 10  # a tenth of the file stays free for what comes next


def give_back(limit: int) -> int:
    """Give some pages back while more than a tenth of the file is free; return how many, 0 when it is enough."""
    if connection.vendor != "sqlite" or _read("auto_vacuum") != INCREMENTAL:
        return 0
    surplus = min(limit, _read("freelist_count") - _read("page_count") // KEPT)
    if surplus <= 0:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA incremental_vacuum({surplus})").fetchall()  # it gives a page back for each row read
    return surplus


def prepare() -> None:
    """Let pages be given back from now on. The file is rewritten once for it, and takes its size again meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA auto_vacuum={INCREMENTAL}")
        cursor.execute("VACUUM")


def _read(name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {name}")
        return int(cursor.fetchone()[0])

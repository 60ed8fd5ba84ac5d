"""Time-ordered identifiers: a UUIDv7 is sort key, page cursor and time of making in one.

uuid_utils makes them: Python 3.13 and PostgreSQL 15 cannot.
"""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import uuid_utils

MS_A_DAY = 86_400_000  # milliseconds
SET_BACK_MS = 1000  # milliseconds by which an id may lie ahead of the clock, for the sake of the ids' order
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_id() -> uuid.UUID:
    """Return a new UUIDv7. Those of one process are in order, also within a millisecond.

    Where the clock was set back, uuid_utils would repeat the latest time for as long: then the time counts for more.
    """
    identifier, now_ms = uuid.UUID(int=uuid_utils.uuid7().int), time.time_ns() // 1_000_000
    if (identifier.int >> 80) - now_ms > SET_BACK_MS:
        return id_at(_EPOCH + timedelta(milliseconds=now_ms))
    return identifier


def made_at(identifier: uuid.UUID) -> datetime:
    """Return the millisecond at which a UUIDv7 was made (RFC 9562 5.7)."""
    return _EPOCH + timedelta(milliseconds=identifier.int >> 80)


def day_of(identifier: uuid.UUID) -> date:
    """Return the day (UTC) on which a UUIDv7 was made."""
    return _day((identifier.int >> 80) // MS_A_DAY)


@lru_cache(maxsize=400)
def _day(number: int) -> date:
    return (_EPOCH + timedelta(days=number)).date()


def id_at(moment: datetime) -> uuid.UUID:
    """Return a new UUIDv7 that says it was made at a moment in the past."""
    return uuid.UUID(int=first_id_at(moment).int | secrets.randbits(62))


def first_id_at(moment: datetime) -> uuid.UUID:
    """Return the smallest UUIDv7 of a moment, so that a time range becomes a range of ids."""
    milliseconds = max(0, int((moment - _EPOCH) / timedelta(milliseconds=1)))
    # 48 bits of time, the version (7), 12 bits, the variant (binary 10), 62 bits: RFC 9562, 5.7.
    return uuid.UUID(int=(milliseconds << 80) | (0x7 << 76) | (0x2 << 62))


def just_before(identifier: uuid.UUID) -> uuid.UUID:
    """Return the largest id that is smaller than this one."""
    return uuid.UUID(int=max(0, identifier.int - 1))

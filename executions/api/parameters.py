"""The query parameters of the lists. A wrong value is refused with its parameter's name; unknown names are ignored."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from django.http import HttpRequest

from executions.api.answers import ApiError
from executions.states import Status

PAGE_LIMIT = 100  # rows of an answer
SKIP_LIMIT = 10_000  # rows; the database reads those that it skips, and a cursor reaches further
ACTIVE = re.compile(r"""\{\s*['"]active['"]\s*:\s*['"]?(true|false)['"]?\s*\}""")
YES_OR_NO = {"true": True, "1": True, "false": False, "0": False, "": False}


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a list to answer, and its order."""

    limit: int
    skip: int
    sort: str
    is_ascending: bool
    wants_count: bool


def bad(name: str, message: str) -> ApiError:
    """Return the refusal of a parameter; the message begins with its name, as the documentation promises."""
    return ApiError(422, "invalid_parameter", f"{name} {message}")


def window(request: HttpRequest, *, sorts: tuple[str, ...]) -> Window:
    """Return the part that `limit`, `skip`, `asc`, `desc` and `include_count` ask for; the first sort is usual."""
    ascending, descending = text(request, "asc"), text(request, "desc")
    if ascending and descending:
        raise bad("desc", "cannot be sent together with asc.")
    for name, value in (("asc", ascending), ("desc", descending)):
        if value and value not in sorts:
            raise bad(name, f"can only be {' or '.join(sorts)}.")
    return Window(
        limit=number(request, "limit", most=PAGE_LIMIT, default=PAGE_LIMIT),
        skip=number(request, "skip", most=SKIP_LIMIT, default=0),
        sort=ascending or descending or sorts[0],
        is_ascending=bool(ascending),
        wants_count=flag(request, "include_count"),
    )


def text(request: HttpRequest, name: str) -> str:
    return request.GET.get(name, "").strip()


def number(request: HttpRequest, name: str, *, most: int, default: int, least: int = 0) -> int:
    value = text(request, name)
    if not value:
        return default
    # Nine digits at most, because int() raises an error for thousands of them.
    if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
        raise bad(name, f"must be a whole number from {least} to {most}.")
    return int(value)


def flag(request: HttpRequest, name: str) -> bool:
    value = text(request, name).lower()
    if value not in YES_OR_NO:
        raise bad(name, "must be true or false.")
    return YES_OR_NO[value]


def active(request: HttpRequest) -> bool | None:
    """Return the value in `query={'active':'true'}`, the only query that is documented; None without a query."""
    value = text(request, "query")
    found = ACTIVE.fullmatch(value)
    if value and not found:
        raise bad("query", "must be {'active':'true'} or {'active':'false'}.")
    return found[1] == "true" if found else None


def uid(request: HttpRequest, name: str) -> uuid.UUID | None:
    value = text(request, name)
    try:
        return uuid.UUID(value) if value else None
    except ValueError:
        raise bad(name, "must be an id from an earlier answer.") from None


def moment(request: HttpRequest, name: str) -> datetime | None:
    """Return a time in ISO 8601, in UTC unless it has an offset; None when the parameter is missing."""
    value = text(request, name)
    try:
        found = datetime.fromisoformat(value) if value else None
    except ValueError:
        raise bad(name, "must be a time in ISO 8601, such as 2026-01-31T09:00:00Z (write a + as %2B).") from None
    return found.replace(tzinfo=UTC) if found and found.tzinfo is None else found


def span(request: HttpRequest) -> tuple[datetime | None, datetime | None]:
    """Return the time range from `from` until before `to`; None is an open end."""
    start, end = moment(request, "from"), moment(request, "to")
    if start and end and start >= end:
        raise bad("to", "must be after from.")
    return start, end


def statuses(request: HttpRequest) -> list[Status]:
    """Return the statuses of `status=failed,rejected`; the parameter may also be repeated."""
    codes = [code.strip() for part in request.GET.getlist("status") for code in part.split(",")]
    found = {code: Status.from_code(code) for code in codes if code}
    if None in found.values():
        raise bad("status", f"must be one or more of {', '.join(status.code for status in Status)}.")
    return [status for status in found.values() if status is not None]

"""Polls of open pages: "has anything of this page changed?", answered ahead of Django where that takes one statement.

A full answer needs a session, a user, rights, often a form and a template. A view that gives one remembers the
statement on whose result its answer depended. While the same browser asks the same and the statement gives the same,
nothing is new.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from sys import intern
from typing import Any
from urllib.parse import quote

from django.db import Error, models

from executions.log.poll_budget import budget
from executions.store import errors, store

ID = "[0-9a-f-]{36}"
POLLED = re.compile(  # the pages that ask for news; the page of an execution does so only with SEEN
    f"/projects/(?P<project>{ID})/(executions/delta|executions/(?P<execution>{ID})|automations/{ID}/requests/delta)/"
)
SEEN = re.compile("(?:^|&)seen=")
SHOWN = re.compile(rf"({ID}|balance)(:|%3A)(\d+)")  # in the query: a row and its revision, as live.js writes it
TOLD = re.compile(r"(?<![^&])told=[^&]*")

type Value = tuple[str, models.QuerySet[Any, Any]]  # an aggregate, as SQL, over the rows of a queryset
type Result = dict[str, Any]  # values by name

REMEMBERED_S = 60.0  # so long at most does a person without a right any more hear "nothing new", and never any data
LONGEST_WAIT_S = 30  # as in live.js
REMEMBERED = 2000  # polls at most, each of up to 15 KB


@dataclass(frozen=True, slots=True)
class Question:
    """One statement whose values by name differ whenever the page may look different."""

    names: tuple[str, ...]
    sql: str
    parameters: tuple[Any, ...]

    def ask(self) -> Result:
        values = store().ask(self.sql, self.parameters)()[0]
        return dict(zip(self.names, values, strict=True))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer without content: nothing is new, or the page shall ask again after some seconds."""

    retry_after_s: int = 0

    @property
    def headers(self) -> list[tuple[str, str]]:
        headers = [("Cache-Control", "no-store")]
        return [*headers, ("Retry-After", str(self.retry_after_s))] if self.retry_after_s else headers


NOTHING_NEW = Answer()


def answer(request: Mapping[str, Any]) -> Answer | None:
    """Answer a poll, given as WSGI's environment, or return None: Django answers it, with all checks."""
    page = polled(request)
    if page is None:
        return None
    query = str(request["QUERY_STRING"])
    if _is_unchanged(_key(request, query)):
        return NOTHING_NEW
    wait_s = budget.wait_s(page["project"])
    return Answer(min(LONGEST_WAIT_S, ceil(wait_s))) if wait_s else None


def polled(request: Mapping[str, Any]) -> re.Match[str] | None:
    """Return the match of the page that a request polls; None when it is no poll."""
    page = POLLED.fullmatch(request["PATH_INFO"]) if request["REQUEST_METHOD"] == "GET" else None
    if page is None or (page["execution"] and not SEEN.search(str(request["QUERY_STRING"]))):
        return None
    return page


def question(values: Mapping[str, Value]) -> Question:
    values = {name: (aggregate, rows) for name, (aggregate, rows) in values.items() if not rows.query.is_empty()}
    parts: list[str] = ["1"]
    parameters: list[Any] = []
    for aggregate, rows in values.values():
        sql, given = rows.query.sql_with_params()
        parts.append(f"(SELECT {aggregate} FROM ({sql}) AS found)")
        parameters += given
    return Question(("", *values), intern(f"SELECT {', '.join(parts)}"), tuple(parameters))


# --- what was asked, and on which result the answer depended


@dataclass(frozen=True, slots=True)
class _Remembered:
    question: Question
    result: Result
    until: float


_remembered: OrderedDict[bytes, _Remembered] = OrderedDict()
_lock = threading.Lock()


def remember(
    request: Mapping[str, Any],
    question: Question,
    result: Result,
    *,
    shown: Mapping[Any, int] | None = None,
    told: str = "",
) -> None:
    """Remember the result that the full answer to this request tells, so that the same is not told again.

    It must be older than what the answer was made of: a change in between is then told twice, not never. A page that
    has taken in the answer asks with the revisions of its rows and the number of new ones in it.
    """
    query = _after(request["QUERY_STRING"], shown or {}, told)
    now = time.monotonic()
    with _lock:
        key = _key(request, query)
        _remembered[key] = _Remembered(question, result, now + REMEMBERED_S)
        _remembered.move_to_end(key)
        while len(_remembered) > REMEMBERED or next(iter(_remembered.values())).until < now:
            _remembered.popitem(last=False)


def _after(query: str, shown: Mapping[Any, int], told: str) -> str:
    """Return the query of a page that has taken in an answer."""
    revs = {str(id): rev for id, rev in shown.items()}
    query = SHOWN.sub(lambda row: f"{row[1]}{row[2]}{revs.get(row[1], row[3])}", query)
    return TOLD.sub(f"told={quote(told)}", query) if told else query


def forget() -> None:
    """Forget all polls; each is then answered in full once."""
    _remembered.clear()


def _is_unchanged(key: bytes) -> bool:
    entry = _remembered.get(key)
    if entry is None or entry.until < time.monotonic():
        return False
    try:
        return entry.question.ask() == entry.result
    except Error as error:
        errors.let_go(error)  # Django's answer says what follows
        return False


def _key(request: Mapping[str, Any], query: str) -> bytes:
    """Return what stands for the browser's session, the page and all that it shows."""
    parts = (str(request["PATH_INFO"]), query, str(request.get("HTTP_COOKIE", "")))
    return blake2b("\0".join(parts).encode(errors="replace"), digest_size=16).digest()

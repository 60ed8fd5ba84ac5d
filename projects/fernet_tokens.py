"""The form of stored secrets before they were bound to their place: read once, by the migrations that replace it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from projects import sealing
from projects.sealing import UnreadableSecret

logger = logging.getLogger(__name__)

BATCH = 500  # rows read at once
SIGN = "gAAAA"  # every Fernet token begins so, and no token of `sealing` does

type Place = Callable[[Any], tuple[str, ...]]  # of a row


def seal_anew(rows: Any, column: str, purpose: sealing.Purpose, place: Place) -> None:
    """Encrypt the column of these rows for its purpose and place; done rows are passed over, so it may run again.

    A value that no key opens is left as it is, and the log names its row.
    """
    fernet = MultiFernet([Fernet(key) for key in settings.FIELD_KEYS])
    for row in _of(rows, column):
        old = getattr(row, column)
        if not old.startswith(SIGN):
            continue
        try:
            new = sealing.encrypt(fernet.decrypt(old).decode(), purpose, *place(row))
        except InvalidToken:
            logger.warning("%s %s: FIELD_KEYS does not hold its key. It stays unreadable.", purpose, place(row))
            continue
        rows.filter(pk=row.pk, **{column: old}).update(**{column: new})


def seal_as_before(rows: Any, column: str, purpose: sealing.Purpose, place: Place) -> None:
    """Take `seal_anew` back."""
    fernet = MultiFernet([Fernet(key) for key in settings.FIELD_KEYS])
    for row in _of(rows, column):
        new = getattr(row, column)
        try:
            old = fernet.encrypt(sealing.decrypt(new, purpose, *place(row)).encode()).decode()
        except UnreadableSecret:
            continue
        rows.filter(pk=row.pk, **{column: new}).update(**{column: old})


def _of(rows: Any, column: str) -> Iterable[Any]:
    """Yield the rows that hold a secret, a batch at a time and by key: rows may change and come meanwhile."""
    batch = list(rows.exclude(**{column: ""}).order_by("pk")[:BATCH])
    while batch:
        yield from batch
        batch = list(rows.exclude(**{column: ""}).filter(pk__gt=batch[-1].pk).order_by("pk")[:BATCH])

"""Password hashes, few at a time: each takes a third of a second of a core, by design, and anybody may ask for one.

One line for the whole process. Who cannot be served soon is told so at once, so that waiting holds no page's thread.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher

WAITING = 7  # places in the line for each hash that is computed at a time
WAIT_S = 3.0  # seconds that somebody stands in the line at most
RETRY_AFTER_S = 5  # seconds after which a refused one may try again


class Busy(Exception):
    """All places of the line are taken."""


class Line:
    """Lets `at_once` in at a time. Callers take turns, and nobody has more than half of all places."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self.places = at_once * (1 + WAITING)
        self.standing: list[tuple[object, str]] = []  # the first `at_once` are being served
        self.moved = threading.Condition()
        self.mine = threading.local()

    @contextmanager
    def turn(self, caller: str = "") -> Iterator[None]:
        """Wait for one's turn and have it within the block; raise Busy when the line is too long.

        `caller` is the address that asks, if known. Within the block the same thread has its turn already.
        """
        if getattr(self.mine, "is_on", False):
            yield
            return
        ticket = (object(), caller)
        self._stand(ticket)
        self.mine.is_on = True
        try:
            yield
        finally:
            self.mine.is_on = False
            self._leave(ticket)

    def _stand(self, ticket: tuple[object, str]) -> None:
        with self.moved:
            same = sum(caller == ticket[1] for _, caller in self.standing)
            if len(self.standing) >= self.places or (ticket[1] and same >= max(1, self.places // 2)):
                raise Busy
            self.standing.insert(self._place_of(ticket[1]), ticket)
            if not self.moved.wait_for(lambda: ticket in self.standing[: self.at_once], WAIT_S):
                self.standing.remove(ticket)
                raise Busy

    def _place_of(self, caller: str) -> int:
        """Return the place of another ticket: behind those whose callers have no more tickets before them."""
        ahead: Counter[str] = Counter()
        mine = sum(other == caller for _, other in self.standing[self.at_once :])
        for place, (_, other) in enumerate(self.standing[self.at_once :], self.at_once):
            if ahead[other] > mine:
                return place
            ahead[other] += 1
        return len(self.standing)

    def _leave(self, ticket: tuple[object, str]) -> None:
        with self.moved:
            self.standing.remove(ticket)
            self.moved.notify_all()


line = Line(settings.PASSWORD_HASHES)


class Hasher(PBKDF2PasswordHasher):
    """Django's own hasher, in turns; its hashes are the same."""

    def encode(self, password: Any, salt: Any, iterations: int | None = None) -> str:
        with line.turn():
            encoded: str = super().encode(password, salt, iterations)
            return encoded

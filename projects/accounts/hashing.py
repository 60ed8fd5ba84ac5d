"""Password hashes, few at a time: each takes a third of a second of a core, by design, and anybody may ask for one.

One line for the whole process. Who cannot be served soon is told so at once, so that waiting holds few pages' threads.
Those who sign in from a browser that is known stand apart from strangers, and the two take turns: guesses at passwords
keep nobody out.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher

RETRY_AFTER_S = 5  # seconds after which a refused one may try again


@dataclass(frozen=True, slots=True)
class Patience:
    """How many stand in the line for each hash that is computed at a time, and how many seconds at most."""

    places: int
    wait_s: float


STRANGERS, KNOWN = Patience(places=8, wait_s=3), Patience(places=4, wait_s=12)  # a busy machine takes 3 s for a hash


class Busy(Exception):
    """All places of the line are taken."""


@dataclass(eq=False, slots=True)
class Ticket:
    caller: str
    patience: Patience


class Line:
    """Lets `at_once` in at a time. Callers take turns, and nobody has more than half of the places."""

    def __init__(self, at_once: int, kinds: Sequence[Patience] = (KNOWN, STRANGERS)) -> None:
        self.at_once = at_once
        self.serving: list[Ticket] = []
        self.waiting: dict[Patience, list[Ticket]] = {kind: [] for kind in kinds}  # the first one's turn is next
        self.moved = threading.Condition()
        self.mine = threading.local()

    def __len__(self) -> int:
        return len(self.serving) + sum(map(len, self.waiting.values()))

    @contextmanager
    def turn(self, caller: str = "", patience: Patience = STRANGERS) -> Iterator[None]:
        """Wait for one's turn and have it within the block; raise Busy when the line is too long.

        `caller` is whoever takes turns with others: the address of a stranger, the name of a known person; "" counts
        for nobody. Within the block the same thread has its turn already.
        """
        if getattr(self.mine, "is_on", False):
            yield
            return
        ticket = Ticket(caller, patience)
        self._stand(ticket)
        self.mine.is_on = True
        try:
            yield
        finally:
            self.mine.is_on = False
            with self.moved:
                self.serving.remove(ticket)
                self._serve()

    def _stand(self, ticket: Ticket) -> None:
        with self.moved:
            self._check_places(ticket)
            waiting = self.waiting[ticket.patience]
            waiting.insert(_place_among(waiting, ticket.caller), ticket)
            self._serve()
            if not self.moved.wait_for(lambda: ticket in self.serving, ticket.patience.wait_s):
                waiting.remove(ticket)
                raise Busy

    def _check_places(self, ticket: Ticket) -> None:
        places = self.at_once * ticket.patience.places
        alike = [one.caller for one in self.serving if one.patience is ticket.patience]
        alike += [one.caller for one in self.waiting[ticket.patience]]
        if len(alike) >= places or (ticket.caller and alike.count(ticket.caller) >= max(1, places // 2)):
            raise Busy

    def _serve(self) -> None:
        while len(self.serving) < self.at_once and (kinds := [kind for kind, some in self.waiting.items() if some]):
            self.serving.append(self.waiting[kinds[0]].pop(0))
            self.waiting[kinds[0]] = self.waiting.pop(kinds[0])  # the other kind is asked first the next time
        self.moved.notify_all()


def _place_among(waiting: list[Ticket], caller: str) -> int:
    """Return the place of another ticket: behind those whose callers have no more tickets before them."""
    ahead: Counter[str] = Counter()
    mine = sum(one.caller == caller for one in waiting)
    for place, one in enumerate(waiting):
        if ahead[one.caller] > mine:
            return place
        ahead[one.caller] += 1
    return len(waiting)


line = Line(settings.PASSWORD_HASHES)


class Hasher(PBKDF2PasswordHasher):
    """Django's own hasher, in turns; its hashes are the same."""

    def encode(self, password: Any, salt: Any, iterations: int | None = None) -> str:
        with line.turn():
            encoded: str = super().encode(password, salt, iterations)
            return encoded

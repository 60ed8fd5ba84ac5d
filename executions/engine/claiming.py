"""The rules of claiming: when an engine asks for executions, and for how many.

All of this runs in the thread of the event loop; the claims themselves are made by the DatabaseThread.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from executions.engine.database_thread import DatabaseThread
from executions.engine.lifeline import vital
from executions.engine.work import Work
from executions.store.rows import Claim, Peer, Wanted
from executions.store.shares import NO_BOUND

LARGEST_CLAIM = 200  # executions in one claim, at most
FIRST_CLAIM = 8  # executions in the first claim; later ones double or halve (Claimer.note_begun)
# Seconds in which all executions of a claim should have begun; the others are left to other engines. Claims of this
# size empty a backlog at 10,750 executions/s on SQLite, claims of always 200 at 9,698/s (medians of four runs).
BEGIN_WITHIN_S = 0.1
GATHER_S = 0.003  # seconds between two claims; executions that arrive in between share the second one
# Seconds for which an engine leaves due executions to the engine whose turn it is. When two engines both claimed each
# small batch, PostgreSQL ran 7 % fewer executions at 50 connections and its cluster used a quarter more CPU.
OTHERS_TURN_S = 0.1
# Seconds between two claims of an engine whose slots are all taken: slots that free meanwhile are filled together.
REFILL_S = 0.02
# Slots up to which an organization may claim while executions here have not begun: those that have just come begin
# before the many of another organization, and its own many do not grow.
BESIDE_OTHERS = 8
LARGEST_BESIDE = 50  # executions in one claim of an engine that is full or has some that have not begun
LATEST_TIMER_S = 60.0  # seconds from now beyond which no timer is set: every claim looks again, and every beat claims


@dataclass(frozen=True, slots=True)
class Rank:
    """An engine's rank among the living engines that claim: who does first, and who calls for a quarantine."""

    machine: int = 0  # the index of this engine's machine, from 0
    machines: int = 1  # the number of machines with a living engine
    is_first: bool = True  # the first of its machine claims at once, the others after OTHERS_TURN_S
    is_oldest: bool = True  # of all engines on all machines: the one that calls for a quarantine

    @property
    def patience_s(self) -> float:
        """Return the seconds that an execution must have been due before this engine claims it."""
        return 0.0 if self.is_first else OTHERS_TURN_S

    def has_turn(self, number: int | None) -> bool:
        """Return whether this engine claims first after a wake-up with this number (None: for every machine)."""
        return self.is_first and (number is None or number % self.machines == self.machine)


def rank_of(engine_id: uuid.UUID, boot_id: str, peers: Iterable[Peer]) -> Rank:
    """Return the engine's rank, given all other engines; stale ones and quarantines do not count.

    Machines share the new executions among them. The engines of one machine do not: their first one claims, because
    fewer and larger claims cost less. The oldest engine is the one with the smallest id.
    """
    alive = [peer for peer in peers if not peer.is_stale and not peer.is_quarantine]
    machines = sorted({boot_id, *(peer.boot_id for peer in alive)})
    mates = [peer.id for peer in alive if peer.boot_id == boot_id]
    return Rank(
        machine=machines.index(boot_id),
        machines=len(machines),
        is_first=all(engine_id < mate for mate in mates),
        is_oldest=all(engine_id < peer.id for peer in alive),
    )


class Claimer:
    """Asks the database thread for executions, with one claim under way at most.

    The organizations fill an engine's slots together. As many again are for those which hold less than their share of
    a full engine, so that an organization which comes newly finds one however long the executions of the others run.
    """

    def __init__(
        self,
        slot_count: int,
        load: Callable[[], int],
        has_waiting: Callable[[], bool],
        database: DatabaseThread,
        held: Callable[[], Mapping[uuid.UUID, int]] = dict,
    ) -> None:
        self.slot_count = slot_count
        self.load = load  # returns the number of slots that are taken
        self.has_waiting = has_waiting  # returns whether claimed executions have not begun: others go elsewhere
        self.held = held  # returns the number of slots that each organization has taken
        self.database = database
        self.loop = asyncio.get_running_loop()
        self.rank = Rank()
        self.is_stopped = False
        self._claim_size = FIRST_CLAIM  # executions to ask for, if as many slots are free
        self._is_asked = False  # a claim is under way
        self._was_full = False  # the last claim for all organizations left executions that are due
        self._claimed_at = 0.0  # loop time of that claim's result
        self._is_for_all = False  # the claim under way is for all organizations, not only for those that hold little
        self._has_news = False  # the engine was woken since the last claim: an organization may have come newly
        self._must_ask_again = False  # ask() could not ask for all although executions may be due
        self._next_claim_at = 0.0  # loop time before which no claim is made
        self._ask_timer: asyncio.Handle | None = None
        self._asks_at = 0.0  # the loop time of that timer; uvloop's own does not tell once it is due
        self._due_timer: asyncio.Handle | None = None
        self._due_at = 0.0

    def on_wake(self, number: int | None) -> None:
        """Ask now if the number gives this engine the turn; otherwise OTHERS_TURN_S later, for executions still due."""
        self._has_news = True
        if self.rank.has_turn(number):
            self.ask()
        else:
            self._ask_at(self.loop.time() + OTHERS_TURN_S)

    def ask(self) -> None:
        """Claim executions for the free slots; ask later while a claim is under way."""
        now, load = self.loop.time(), self.load()
        if now < self._next_claim_at and not self._is_asked:
            self._ask_at(self._next_claim_at)
            return
        if self.is_stopped or self._is_asked:
            self._must_ask_again = True
        elif wanted := self._wanted(load):
            self._begin_claim(now, is_for_all=wanted.most == NO_BOUND)
            self.database.claim(wanted)
        else:
            self._must_ask_again = True

    def _wanted(self, load: int) -> Wanted | None:
        """Return what to claim now: for all organizations, for those that hold little, or nothing.

        While executions here have not begun the others of the same organizations go elsewhere.
        """
        free, room = self.slot_count - load, 2 * self.slot_count - load
        held, waited_s = dict(self.held()), self.rank.patience_s
        if free > 0 and not self.has_waiting():
            return Wanted(limit=min(free, self._claim_size), waited_s=waited_s, held=held)
        if room <= 0 or (self.has_waiting() and not self._has_news):
            return None
        most = max(1, min(self.slot_count // (len(held) + 1), room // 2)) if free <= 0 else self.slot_count
        if self.has_waiting():
            most = min(most, BESIDE_OTHERS)
        return Wanted(limit=min(room, LARGEST_BESIDE), waited_s=waited_s, held=held, most=most)

    def _begin_claim(self, now: float, *, is_for_all: bool) -> None:
        self._is_asked, self._is_for_all = True, is_for_all
        self._must_ask_again = self._must_ask_again and not is_for_all
        self._has_news = False
        self._next_claim_at = now + (GATHER_S if is_for_all or self.has_waiting() else REFILL_S)

    def note_claimed(self, works: Sequence[Work], claim: Claim) -> None:
        """Note the result of a claim, which the engine already runs, and decide when to ask next."""
        self._is_asked = False
        self._must_ask_again |= claim.has_more or not self._is_for_all
        if self._is_for_all:
            self._was_full, self._claimed_at = claim.has_more, self.loop.time()
            if self._must_ask_again or self._has_news:
                self.ask()
        elif self._has_news or (not self.has_waiting() and self.load() < self.slot_count):
            self.ask()
        if claim.next_in_s is not None and claim.next_in_s < LATEST_TIMER_S:
            self.ask_in(max(0.0, claim.next_in_s))

    def note_freed(self, execution_id: uuid.UUID) -> None:
        """Note that an execution has left its slot.

        An engine that was full asks at once only when half its slots are free: fewer and larger claims cost less.
        """
        if self._must_ask_again and not self.has_waiting():
            if self.load() <= self.slot_count // 2:
                self.ask()
            else:
                self._ask_at(self.loop.time() + REFILL_S)

    def note_begun(self) -> None:
        """Note that all claimed executions have begun, and fit the size of the next claim to the time it took."""
        if self.loop.time() - self._claimed_at > BEGIN_WITHIN_S:
            self._claim_size = max(1, self._claim_size // 2)
        elif self._was_full:
            self._claim_size = min(LARGEST_CLAIM, self._claim_size * 2)
        if self._must_ask_again:
            self.ask()

    def ask_in(self, seconds: float) -> None:
        """Ask once an execution is due, in so many seconds; an earlier moment replaces a later one."""
        moment = self.loop.time() + seconds + self.rank.patience_s + 0.001
        if self._due_timer is not None and self.loop.time() < self._due_at <= moment:
            return
        if self._due_timer is not None:
            self._due_timer.cancel()
        self._due_timer, self._due_at = self.loop.call_at(moment, self._ask_for_due), moment

    @vital
    def _ask_for_due(self) -> None:
        self._due_timer, self._has_news = None, True
        self.ask()

    def _ask_at(self, moment: float) -> None:
        """Ask at this loop time, unless an earlier one is set already."""
        if self._ask_timer is not None:
            if self._asks_at <= moment:
                return
            self._ask_timer.cancel()
        self._ask_timer, self._asks_at = self.loop.call_at(moment, self._ask_on_time), moment

    @vital
    def _ask_on_time(self) -> None:
        self._ask_timer = None
        self.ask()

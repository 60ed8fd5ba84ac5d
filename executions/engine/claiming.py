"""The rules of claiming: when an engine asks for executions, for how many, and when for a suspect.

All of this runs in the thread of the event loop; the claims themselves are made by the DatabaseThread.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from executions.engine.database_thread import DatabaseThread
from executions.engine.work import Work
from executions.store import store
from executions.store.rows import Peer

LARGEST_CLAIM = 200  # executions in one claim, at most
FIRST_CLAIM = 8  # executions in the first claim; later ones double or halve (Claimer.note_begun)
# Seconds in which all executions of a claim should have begun; the others are left to other engines. Claims of this
# size empty a backlog at 10,750 executions/s on SQLite, claims of always 200 at 9,698/s (medians of four runs).
BEGIN_WITHIN_S = 0.1
GATHER_S = 0.003  # seconds between two claims; executions that arrive in between share the second one
# Seconds for which an engine leaves due executions to the engine whose turn it is. When two engines both claimed each
# small batch, PostgreSQL ran 7 % fewer executions at 50 connections and its cluster used a quarter more CPU.
OTHERS_TURN_S = 0.1
LOOK_AHEAD_S = 0.05  # seconds after a claim before the engine looks when the next paused or throttled one is due
LONGEST_DRAIN_S = 10.0  # seconds that a suspect waits for the engine's other executions to end


@dataclass(frozen=True, slots=True)
class Rank:
    """An engine's rank among the living engines: who claims first, and who takes suspects."""

    machine: int = 0  # the index of this engine's machine, from 0
    machines: int = 1  # the number of machines with a living engine
    is_first: bool = True  # the first of its machine claims at once, the others after OTHERS_TURN_S
    takes_suspects: bool = True  # one of several engines takes none, so that other work goes on there

    @property
    def patience_s(self) -> float:
        """Return the seconds that an execution must have been due before this engine claims it."""
        return 0.0 if self.is_first else OTHERS_TURN_S

    def has_turn(self, number: int | None) -> bool:
        """Return whether this engine claims first after a wake-up with this number (None: for every machine)."""
        return self.is_first and (number is None or number % self.machines == self.machine)


def rank_of(engine_id: uuid.UUID, boot_id: str, peers: Iterable[Peer]) -> Rank:
    """Return the engine's rank, given all other engines; stale ones do not count.

    Machines share the new executions among them. The engines of one machine do not: their first one claims, because
    fewer and larger claims cost less. The oldest engine of all (the one with the smallest id) takes no suspects. It is
    the first of its machine, so all other work goes on there while suspects run alone elsewhere.
    """
    alive = [peer for peer in peers if not peer.is_stale]
    machines = sorted({boot_id, *(peer.boot_id for peer in alive)})
    mates = [peer.id for peer in alive if peer.boot_id == boot_id]
    return Rank(
        machine=machines.index(boot_id),
        machines=len(machines),
        is_first=all(engine_id < mate for mate in mates),
        takes_suspects=not alive or any(peer.id < engine_id for peer in alive),
    )


class Claimer:
    """Asks the database thread for executions, with one claim under way at most.

    A suspect runs alone. The claimer asks for it once the engine is empty, or after LONGEST_DRAIN_S, and then for
    nothing else until a step of the suspect is durable or the suspect has left its slot.
    """

    def __init__(
        self, slot_count: int, load: Callable[[], int], has_waiting: Callable[[], bool], database: DatabaseThread
    ) -> None:
        self.slot_count = slot_count
        self.load = load  # returns the number of slots that are taken
        self.has_waiting = has_waiting  # returns whether claimed executions have not begun: others go elsewhere
        self.database = database
        self.loop = asyncio.get_running_loop()
        self.rank = Rank()
        self.is_stopped = False
        self._claim_size = FIRST_CLAIM  # executions to ask for, if as many slots are free
        self._asked_for = 0  # executions that the claim under way may take; 0 while no claim is under way
        self._was_full = False  # the last claim took as many as it asked for: more may be due
        self._claimed_at = 0.0  # loop time of the last claim's result
        self._is_for_suspect = False  # the claim under way asks for a suspect
        self._must_ask_again = False  # ask() could not ask although executions may be due
        self._next_claim_at = 0.0  # loop time before which no claim is made
        self._suspects_wait = False
        self._drain_ends_at = 0.0  # loop time from which a waiting suspect runs although other executions still do
        self._lone_suspect: uuid.UUID | None = None  # the suspect that has the engine to itself
        self._ask_timer: asyncio.Handle | None = None
        self._ask_moment = 0.0  # loop time at which it rings
        self._look_ahead_timer: asyncio.TimerHandle | None = None
        self._due_timer: asyncio.TimerHandle | None = None

    def on_wake(self, number: int | None) -> None:
        """Ask now if the number gives this engine the turn; otherwise OTHERS_TURN_S later, for executions still due."""
        if self.rank.has_turn(number):
            self.ask()
        else:
            self._ask_at(self.loop.time() + OTHERS_TURN_S)

    def ask(self) -> None:
        """Claim executions for the free slots, or one suspect.

        Asks later while a claim is under way, claimed executions have not begun, a suspect has the engine to itself, or
        the engine drains for a suspect.
        """
        now, load = self.loop.time(), self.load()
        if now < self._next_claim_at and not self._asked_for:
            self._ask_at(self._next_claim_at)
            return
        is_draining = self._suspects_wait and load > 0 and now < self._drain_ends_at
        if (
            self.is_stopped
            or self._asked_for
            or self._lone_suspect
            or load >= self.slot_count
            or self.has_waiting()
            or is_draining
        ):
            self._must_ask_again = True
            return
        self._must_ask_again, self._next_claim_at = False, now + GATHER_S
        self._is_for_suspect = self._suspects_wait
        self._asked_for = 1 if self._is_for_suspect else min(self.slot_count - load, self._claim_size)
        if self._is_for_suspect:
            self.database.claim_suspect()
        else:
            self.database.claim(self._asked_for, self.rank.patience_s)

    def note_claimed(self, works: Sequence[Work]) -> None:
        """Note the result of a claim, which the engine already runs, and decide when to ask next."""
        is_all = len(works) < self._asked_for  # fewer than asked for: nothing is left, and new ones wake the engine
        self._asked_for, self._was_full, self._claimed_at = 0, not is_all, self.loop.time()
        if self._is_for_suspect:
            self._suspects_wait = bool(works) and self.rank.takes_suspects
            self._is_for_suspect = is_all = False
            self._lone_suspect = works[0].execution.id if works else None
        if self._must_ask_again or not is_all:
            self.ask()
        elif self._look_ahead_timer is None:
            self._look_ahead_timer = self.loop.call_later(LOOK_AHEAD_S, self._look_ahead)

    def note_freed(self, execution_id: uuid.UUID) -> None:
        """Note that the execution has left its slot, or that it is a suspect no longer.

        An engine that was full asks again only when half its slots are free: fewer and larger claims cost less.
        """
        if self._lone_suspect == execution_id:
            self._lone_suspect = None
            self.ask()
        elif self._must_ask_again and self.load() <= self.slot_count // 2:
            self.ask()

    def note_begun(self) -> None:
        """Note that all claimed executions have begun, and fit the size of the next claim to the time it took."""
        if self.loop.time() - self._claimed_at > BEGIN_WITHIN_S:
            self._claim_size = max(1, self._claim_size // 2)
        elif self._was_full:
            self._claim_size = min(LARGEST_CLAIM, self._claim_size * 2)
        if self._must_ask_again:
            self.ask()

    def note_suspects(self, do_wait: bool) -> None:
        """Note whether suspects wait in the database; an engine that takes them then drains for one."""
        do_wait = do_wait and self.rank.takes_suspects
        if do_wait and not self._suspects_wait:
            self._drain_ends_at = self.loop.time() + LONGEST_DRAIN_S
        self._suspects_wait = do_wait

    def _ask_at(self, moment: float) -> None:
        """Ask at this loop time, unless an earlier one is set already."""
        # The moment is kept here: for one that is due, uvloop returns a handle that does not know it.
        if self._ask_timer is not None and self._ask_moment <= moment:
            return
        if self._ask_timer is not None:
            self._ask_timer.cancel()
        self._ask_moment = moment
        self._ask_timer = self.loop.call_at(moment, self._ask_on_time)

    def _ask_on_time(self) -> None:
        self._ask_timer = None
        self.ask()

    def _look_ahead(self) -> None:
        self._look_ahead_timer = None
        self.database.call(self._find_due)

    def _find_due(self) -> None:
        """Look, in the database thread, when the next paused or throttled execution is due, and ask then."""
        due_in = store().next_due()
        if due_in is not None and due_in < 60:  # each claim looks again, and each beat claims: later ones can wait
            self.loop.call_soon_threadsafe(self._ask_in, max(0.0, due_in))

    def _ask_in(self, seconds: float) -> None:
        if self._due_timer is not None:
            self._due_timer.cancel()
        self._due_timer = self.loop.call_later(seconds + self.rank.patience_s + 0.001, self.ask)

"""When an engine asks for more executions, and for what: the rules of claiming, in the loop's thread."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from executions.engine.database_thread import DatabaseThread
from executions.engine.work import Work
from executions.store import store
from executions.store.rows import Peer

MOST, FEWEST = 200, 8  # that one claim takes: as many as begin within BEGIN_S, so that other engines get the rest
BEGIN_S = 0.1
GATHER_S = 0.003  # between two claims: what comes meanwhile shares the next one
OTHERS_TURN_S = 0.1  # that what is another engine's to claim is left to it
LOOK_AHEAD_S = 0.05  # after a claim, to see when the next one is due
LONGEST_DRAIN_S = 10.0  # that a suspect waits for the others to end


@dataclass(frozen=True, slots=True)
class Rank:
    """An engine's rank among those that live."""

    machine: int = 0
    machines: int = 1
    is_first: bool = True  # of its machine: it claims at once, the others what it leaves for a moment
    takes_suspects: bool = True  # which run alone: one engine of several is left to all others

    @property
    def patience_s(self) -> float:
        """How long something has to be due before this engine claims it."""
        return 0.0 if self.is_first else OTHERS_TURN_S

    def has_turn(self, number: int | None) -> bool:
        return self.is_first and (number is None or number % self.machines == self.machine)


def rank_of(engine_id: uuid.UUID, boot_id: str, peers: Iterable[Peer]) -> Rank:
    """Machines share what comes; the engines of one do not, as fewer and larger claims cost less.

    The oldest of all takes no suspects, because it is the first of its machine: the others' work waits for nobody.
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
    """Asks the database thread, at most one claim at a time; a suspect gets the engine to itself."""

    def __init__(
        self, slot_count: int, load: Callable[[], int], is_behind: Callable[[], bool], database: DatabaseThread
    ) -> None:
        self.slot_count = slot_count
        self.load = load  # how many slots are taken
        self.is_behind = is_behind  # some that are claimed have not begun: the next ones are better off elsewhere
        self.database = database
        self.loop = asyncio.get_running_loop()
        self.rank = Rank()
        self.is_over = False
        self._at_once = FEWEST
        self._asked = 0  # of a claim under way
        self._had_more = False  # than the last claim took
        self._claimed_at = 0.0
        self._is_for_suspect = False
        self._may_have_more = False
        self._next_claim_at = 0.0
        self._suspects_wait = False
        self._drained_by = 0.0  # when a waiting suspect runs although others still do
        self._solo: uuid.UUID | None = None
        self._later: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._due: asyncio.TimerHandle | None = None

    def rung(self, number: int | None) -> None:
        """Ask when it is this engine's turn to claim what has come; else a little later, in case it is still there."""
        if self.rank.has_turn(number):
            self.ask()
        else:
            self._ask_at(self.loop.time() + OTHERS_TURN_S)

    def ask(self) -> None:
        """Ask for as many executions as there are free slots, or for a suspect."""
        now, load = self.loop.time(), self.load()
        if now < self._next_claim_at and not self._asked:
            self._ask_at(self._next_claim_at)
            return
        is_draining = self._suspects_wait and load > 0 and now < self._drained_by
        if self.is_over or self._asked or self._solo or load >= self.slot_count or self.is_behind() or is_draining:
            self._may_have_more = True
            return
        self._may_have_more, self._next_claim_at = False, now + GATHER_S
        self._is_for_suspect = self._suspects_wait
        self._asked = 1 if self._is_for_suspect else min(self.slot_count - load, self._at_once)
        if self._is_for_suspect:
            self.database.claim_suspect()
        else:
            self.database.claim(self._asked, self.rank.patience_s)

    def claimed(self, works: Sequence[Work]) -> None:
        """Take note of what a claim brought; the engine runs it already."""
        is_all = len(works) < self._asked  # fewer than asked for were all there were: the next ones ring
        self._asked, self._had_more, self._claimed_at = 0, not is_all, self.loop.time()
        if self._is_for_suspect:
            self._suspects_wait = bool(works) and self.rank.takes_suspects
            self._is_for_suspect = is_all = False
            self._solo = works[0].execution.id if works else None
        if self._may_have_more or not is_all:
            self.ask()
        elif self._look is None:
            self._look = self.loop.call_later(LOOK_AHEAD_S, self._look_ahead)

    def freed(self, execution_id: uuid.UUID) -> None:
        """Take note that a slot is free, or that a suspect is one no longer."""
        if self._solo == execution_id:
            self._solo = None
            self.ask()
        elif self._may_have_more and self.load() <= self.slot_count // 2:
            self.ask()

    def begun(self) -> None:
        """Take note that all that was claimed has begun, and how long that took."""
        if self.loop.time() - self._claimed_at > BEGIN_S:
            self._at_once = max(1, self._at_once // 2)
        elif self._had_more:
            self._at_once = min(MOST, self._at_once * 2)
        if self._may_have_more:
            self.ask()

    def suspects_may_wait(self, do_wait: bool) -> None:
        do_wait = do_wait and self.rank.takes_suspects
        if do_wait and not self._suspects_wait:
            self._drained_by = self.loop.time() + LONGEST_DRAIN_S
        self._suspects_wait = do_wait

    def _ask_at(self, moment: float) -> None:
        if self._later is not None and self._later.when() <= moment:
            return
        if self._later is not None:
            self._later.cancel()
        self._later = self.loop.call_at(moment, self._ask_later)

    def _ask_later(self) -> None:
        self._later = None
        self.ask()

    def _look_ahead(self) -> None:
        self._look = None
        self.database.call(self._find_due)

    def _find_due(self) -> None:
        """In the database thread: sleep no longer than until the next paused or throttled execution is due."""
        due_in = store().next_due()
        if due_in is not None and due_in < 60:  # later ones are looked up again by then
            self.loop.call_soon_threadsafe(self._wake_in, max(0.0, due_in))

    def _wake_in(self, seconds: float) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due = self.loop.call_later(seconds + self.rank.patience_s + 0.001, self.ask)

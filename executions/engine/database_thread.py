"""The one thread of an engine that talks to the database.

Everything that arrives while a transaction is under way shares the next one, and one connection serves the engine.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

from django.db import OperationalError, connection

from executions.engine.lifeline import end_without_lease
from executions.engine.shelf import Shelf
from executions.engine.work import Batch, Work
from executions.states import Status
from executions.store import errors, store
from executions.store.rows import Claim, Claimed, Move, StepRecord, Wanted
from executions.store.shares import FIRST

logger = logging.getLogger(__name__)

LONGEST_BACKOFF_S = 2.0  # seconds between two tries while the database is away, at most
LOCKED_S = 1.0  # seconds between two tries to store the results of executions whose rows somebody has locked
NOT_STORABLE = "not_storable"  # the reason code of an execution whose result the database refuses


class DatabaseThread(threading.Thread):
    """Stores records and moves and makes claims for one engine.

    All callbacks run in this thread: `on_claimed` with the result of each claim, also an empty one, `on_lost` with the
    ids of executions that turned out not to be this engine's any more. `shard` is the engine's usage counter, so that
    engines do not wait for each other's rows.
    """

    def __init__(
        self,
        engine_id: uuid.UUID,
        shard: int,
        on_claimed: Callable[[list[Work], Claim], None],
        on_lost: Callable[[list[uuid.UUID]], None],
    ) -> None:
        super().__init__(name="engine-database", daemon=True)
        self.engine_id = engine_id
        self.shard = shard
        self.on_claimed = on_claimed
        self.on_lost = on_lost
        self.owned: dict[uuid.UUID, Claimed] = {}  # the executions that this engine runs, as the database knows them
        self.shelf = Shelf()
        self.turn_of = FIRST  # the organization behind which the next look for due executions begins
        self.gathered = Batch()
        self._has_work = threading.Condition()
        self._is_stopping = False
        self.locked = Batch()  # results of executions whose rows somebody has locked: they are tried again
        self.busy_since: float | None = None  # monotonic time of the present try or call; None while there is none
        self.session, self.begun_at = 0, 0.0  # of the last try (`Dialect.session`), and its begin, monotonic time
        self._must_reconcile = False  # after a database error, because it is unknown which commits took effect

    # --- called by the engine, from its own thread

    def record(self, records: list[StepRecord], when_durable: Callable[[bool], None]) -> None:
        """Store one execution's records with the next commit.

        `when_durable` is called after it, with True if the execution was still this engine's.
        """
        with self._has_work:
            self.gathered.records.append(tuple(records))
            self.gathered.waiting.append(when_durable)
            self._has_work.notify()

    def move(self, moves: list[Move]) -> None:
        """Store moves out of Running, and the records that go with them, with the next commit."""
        with self._has_work:
            self.gathered.moves += moves
            self._has_work.notify()

    def claim(self, wanted: Wanted) -> None:
        """Claim due executions; a claim that has not begun yet is replaced."""
        with self._has_work:
            self.gathered.claim = wanted
            self._has_work.notify()

    def claim_suspects(self) -> None:
        """Claim suspects that may begin together."""
        with self._has_work:
            self.gathered.claims_suspects = True
            self._has_work.notify()

    def call(self, function: Callable[[], None]) -> None:
        """Call a function in this thread after the next commit, so with a connection that has just worked.

        A database error is logged and the function is not called again.
        """
        with self._has_work:
            self.gathered.calls.append(function)
            self._has_work.notify()

    def stop(self) -> None:
        """End the thread once everything that was handed over is committed."""
        with self._has_work:
            self._is_stopping = True
            self._has_work.notify()

    # --- the thread itself

    def run(self) -> None:
        try:
            while (batch := self._take()) is not None:
                self._commit_until_done(batch)
                self.busy_since = None
        except BaseException:
            logger.exception("the database thread of the engine failed: this worker ends")
            os._exit(1)  # without this thread no execution here could end; peers recover them
        connection.close()

    def _take(self) -> Batch | None:
        """Wait for something to do and return it, or None once the thread is to end."""
        with self._has_work:
            while not self.gathered and not self._is_stopping:
                if not self._has_work.wait(LOCKED_S if self.locked else None):
                    break
            if self._is_stopping and not self.gathered:
                return None
            batch, self.gathered = self.gathered, Batch()
        return batch

    def _commit_until_done(self, batch: Batch) -> None:
        """Commit the batch, however long the database stays away.

        A result that the database refuses fails its own execution and no other. One whose row is locked waits alone.
        """
        backoff = 0.05
        is_locked = False
        while True:
            self.busy_since = time.monotonic()
            try:
                if self._must_reconcile:
                    self._reconcile()
                self.session, self.begun_at = store().session(), time.monotonic()
                if is_locked or self.locked:
                    batch = self._set_locked_aside(batch)
                self._commit(batch)
                return
            except Exception as error:
                if is_locked := errors.is_lock_timeout(error):  # nothing of it is committed
                    logger.warning("somebody holds a lock that the engine needs: %s", error)
                else:
                    self._must_reconcile = True
                    errors.forget_connection()
                    if errors.fault_of(error).blames_values:
                        self._commit_in_parts(batch, error)
                        return
                    logger.warning("database error, trying again in %.2f s: %s", backoff, errors.in_words(error))
                time.sleep(backoff)
                backoff = min(LONGEST_BACKOFF_S, backoff * 2)

    def _set_locked_aside(self, batch: Batch) -> Batch:
        """Return the batch, and what was set aside before it, without the results of executions whose rows are locked.

        An execution's results keep their order: while its row is locked, later ones wait behind the first.
        """
        whole = self.locked + batch
        locked = store().locked(whole.execution_ids())
        self.locked = whole.results(lambda execution_id: execution_id in locked)
        free = whole.results(lambda execution_id: execution_id not in locked)
        return replace(whole, records=free.records, waiting=free.waiting, moves=free.moves)

    def _commit(self, batch: Batch) -> None:
        records = [record for group in batch.records for record in group]
        writes = bool(records or batch.moves)
        claim = Claim()
        lost: set[uuid.UUID] = set()
        look = None
        if batch.claim and not writes:  # a claim with nothing else to write needs no transaction to find nothing
            look = store().further(store().look(self.turn_of, batch.claim.waited_s)(), batch.claim)
            claim.next_in_s = look.later_in_s
        if writes or batch.claims_suspects or (look and batch.claim and store().may_find(look, batch.claim)):
            claims = batch.claim or batch.claims_suspects
            with store().pipeline(prove=self.engine_id if claims else None, is_durable=writes) as proof:
                looking = store().look(self.turn_of, batch.claim.waited_s) if batch.claim and not look else None
                if writes:
                    lost = store().write(self.engine_id, self.shard, records, batch.moves)
                if batch.claim:
                    claim = store().claim(self.engine_id, batch.claim, look or (looking and looking()))
                    self.turn_of = claim.turn_of
                if batch.claims_suspects:
                    claim = store().claim_suspects(self.engine_id, self.turn_of)
                    self.turn_of = claim.turn_of
                if proof() is None:  # before the commit, so nothing is claimed for nobody
                    end_without_lease(self.engine_id)
        self._after(batch, self.shelf.works(claim.executions), claim, lost)

    def _after(self, batch: Batch, claimed: list[Work], claim: Claim, lost: set[uuid.UUID]) -> None:
        """Tell the engine the results of a committed batch, and make its calls."""
        for move in batch.moves:
            self.owned.pop(move.execution.id, None)
            if move.when_stored:
                move.when_stored()
        self.owned.update((work.execution.id, work.execution) for work in claimed)
        for group, when_durable in zip(batch.records, batch.waiting, strict=True):
            when_durable(group[0].execution.id not in lost)
        if batch.claim or batch.claims_suspects:
            self.on_claimed(claimed, claim)
        for function in batch.calls:
            self._call(function)

    def _call(self, function: Callable[[], None]) -> None:
        self.busy_since = time.monotonic()
        try:
            function()
        except Exception as error:
            if not errors.let_go(error).passes:
                logger.exception("a call of the engine failed")
                return
            logger.warning("database error: %s", errors.in_words(error))
            self._must_reconcile = True

    def _commit_in_parts(self, batch: Batch, error: Exception) -> None:
        """Commit each result by itself, so that the one that the database refuses fails no other."""
        parts = list(batch.parts())
        if len(parts) == 1:
            self._give_up(batch, error)
            return
        logger.error("results cannot be stored together, storing them one by one: %s", error)
        for part in parts:
            self._commit_until_done(part)

    def _give_up(self, part: Batch, error: Exception) -> None:
        """Fail the execution whose result the database refuses; raise the error if it refuses that move, too."""
        for execution in [group[0].execution for group in part.records] + [move.execution for move in part.moves]:
            if any(move.reason_code == NOT_STORABLE for move in part.moves):
                raise error  # no move holds fewer values than this one
            logger.error("a result of execution %s cannot be stored: %s", execution.id, error)
            reason = "AgentOS could not store the result of a step."
            move = Move(execution=execution, target=Status.FAILED, reason_code=NOT_STORABLE, reason=reason)
            self._commit_until_done(Batch(moves=[move]))
        for when_durable in part.waiting:
            when_durable(False)
        for move in part.moves:
            if move.when_stored:
                move.when_stored()
        if rest := replace(part, records=[], waiting=[], moves=[]):
            logger.error("the engine cannot claim executions", exc_info=error)
            self._after(rest, [], Claim(), set())

    def _reconcile(self) -> None:
        """Agree with the database on the executions that this engine runs, after any database error.

        A commit whose answer was lost may have claimed executions that nobody runs: they are given back. Executions
        that now belong to another engine are dropped here. The lost session is ended first: it may be about to commit.
        """
        if not store().end_session(self.session, time.monotonic() - self.begun_at):
            raise OperationalError("the session of a lost connection has not ended")
        with store().transaction():
            held = store().fenced(self.engine_id, list(self.owned.values()), waits=False)()
            store().release(self.engine_id, held)
        self._must_reconcile = False
        lost = [self.owned.pop(execution_id) for execution_id in self.owned.keys() - held]
        self.on_lost([execution.id for execution in lost])

    def read_requests_to_stop(self) -> None:
        """Note, in this thread, which of the engine's executions are to stop: their runners look before each step."""
        for execution_id, claim, code, reason in store().requests_to_stop(self.engine_id)():
            if execution := self.owned.get(store().to_uuid(execution_id)):
                execution.note_held(claim, code, reason)

    def adopt(self, condemned: list[tuple[Claimed, str, str]]) -> list[Work]:
        """Own, in this thread, the executions that recovery took over from dead engines; return them to be rejected."""
        works = self.shelf.works([execution for execution, _, _ in condemned])
        self.owned.update((work.execution.id, work.execution) for work in works)
        return [replace(work, verdict=(code, step)) for work, (_, code, step) in zip(works, condemned, strict=True)]

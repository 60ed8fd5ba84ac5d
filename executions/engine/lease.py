"""An engine's lease: its row, which each beat renews, and the regular work for all engines.

Beats have a thread of their own (`beats.py`). All else here runs in the database thread of the engine.
"""

from __future__ import annotations

import heapq
import json
import logging
import os
import resource
import time
import uuid
from collections.abc import Callable

from connectors.outbound.holding import Memory
from executions.engine import quarantine
from executions.engine.claiming import Claimer, rank_of
from executions.engine.database_thread import DatabaseThread
from executions.engine.host import boot_id, host_name
from executions.engine.lifeline import end_without_lease
from executions.engine.quarantine import SuspectClaimer
from executions.engine.recovery import Presence, gone_of, recover
from executions.engine.slots import Slots
from executions.store import store
from executions.store.wake import Wake
from projects import quiet

logger = logging.getLogger(__name__)

HOLDERS = 20  # organizations whose slots each beat tells, those with most of them
# Seconds that one try of the database thread may take. A connection that died without a word, as in a firewall, would
# hold all results of this engine for a quarter of an hour, while its beats go on over another one.
STUCK_S = 60.0
SWEEP_S = 10.0  # seconds between two looks of the oldest engine for executions whose engine has no row


class Lease:
    """Begins and renews the lease of one engine. `call_in_loop` calls a function in the loop's thread."""

    def __init__(
        self,
        engine_id: uuid.UUID,
        database: DatabaseThread,
        claimer: Claimer | SuspectClaimer,
        slots: Slots,
        memory: Memory,
        wake: Wake,
        call_in_loop: Callable[..., None],
        is_quarantine: bool,
    ) -> None:
        self.engine_id = engine_id
        self.database = database
        self.claimer = claimer
        self.slots = slots
        self.memory = memory
        self.wake = wake
        self.call_in_loop = call_in_loop
        self.is_quarantine = is_quarantine
        self.presence = Presence()
        self.is_over = False  # the engine gives its lease up itself
        self.swept_at = 0.0  # monotonic time

    def look(self) -> None:
        """Ask whether the installation keeps quiet; `quiet.reason` then says so."""
        with store().transaction():
            quiet.look()

    def begin(self) -> None:
        with store().transaction():
            store().register(self.engine_id, host_name(), boot_id(), os.getpid(), is_quarantine=self.is_quarantine)

    def beat(self) -> None:
        """Renew the lease, in the thread of the beats.

        An engine that has lost its lease ends its process at once: its executions belong to others by now. So does one
        that finds a copy in place of its database, and one whose database thread hangs: others go on with its
        executions.
        """
        since = self.database.busy_since
        if since is not None and time.monotonic() - since > STUCK_S:
            logger.error(
                "engine %s waits for the database for %s s in one try: this worker ends", self.engine_id, STUCK_S
            )
            os._exit(1)
        with store().transaction():
            if why := quiet.look():
                logger.error("engine %s must keep quiet, so this worker ends: %s", self.engine_id, why)
                os._exit(1)
            after_s = store().beat(
                self.engine_id,
                running=len(self.slots),
                rss_kb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                is_stopping=self.claimer.is_stopped,
                holders=self._holders(),
                held_kb=self.memory.used // 1024,
            )
            if self.is_first_of_all:
                store().note_time()
            if after_s is not None:
                self.presence.note_beat(after_s)
            elif not self.is_over:
                end_without_lease(self.engine_id)

    def look_after_others(self) -> None:
        """Look at the other engines: recover the executions of dead ones and call for a quarantine."""
        with store().transaction():
            age_s = store().proof(self.engine_id)()
            if age_s is None:
                end_without_lease(self.engine_id)
            peers = store().peers(self.engine_id)
            gone = gone_of(peers)
            self.claimer.rank = rank_of(self.engine_id, boot_id(), (peer for peer in peers if peer.id not in gone))
            trusts_silence = self.presence.trusts_silence(age_s)  # after the look at its age, see Presence
            condemned = recover(self.engine_id, peers, trusts_silence=trusts_silence)
            if self.is_first_of_all:
                self._do_once_for_all()
        self.wake.rest_s = self.claimer.rank.patience_s
        if condemned:
            self.call_in_loop(self.slots.run, self.database.adopt(condemned))

    @property
    def is_first_of_all(self) -> bool:
        """Return whether this engine does what one engine does for all machines."""
        return self.claimer.rank.is_oldest and not self.is_quarantine

    def _do_once_for_all(self) -> None:
        store().follow_clock()
        if store().has_suspects():
            quarantine.call()
        if time.monotonic() - self.swept_at > SWEEP_S:
            self.swept_at = time.monotonic()
            if given := store().sweep():
                logger.warning("%s executions ran on engines that are no more, and are given back", given)

    def _holders(self) -> str:
        """Return JSON with the slots of the HOLDERS organizations that have most, by their ids."""
        held = dict(self.slots.held)  # copied in one go: the loop's thread changes it
        most = heapq.nlargest(HOLDERS, held.items(), key=lambda item: item[1])
        return json.dumps({str(organization_id): slots for organization_id, slots in most})

    def join_direct(self) -> None:
        """Move executions whose automation is no longer throttled to the direct lane.

        Each call moves a part and asks for the next call, so that claims and beats get their turn between two parts.
        """
        if line := store().unthrottled_line():
            with store().transaction():
                store().join_direct(*line)
            self.database.call(self.join_direct)

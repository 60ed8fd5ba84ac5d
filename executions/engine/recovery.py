"""What becomes of the executions of an engine that died (ARCHITECTURE.md, "Deaths")."""

from __future__ import annotations

import logging
import os
import signal
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from django.db import transaction

from executions.engine import black_box
from executions.engine.black_box import Evidence
from executions.engine.host import boot_id, host_name, is_alive
from executions.engine.suspects import judge
from executions.store import store
from executions.store.leases import STALE_AFTER_S
from executions.store.rows import Claimed, Peer

logger = logging.getLogger(__name__)


AWAY_S = STALE_AFTER_S / 2  # without a beat of its own, after which an engine has been away


class Presence:
    """Knows whether this engine has been here for so long that a peer's silence is the peer's own.

    One that was away finds all others stale that were away with it, as all are when the database was.
    """

    def __init__(self) -> None:
        self.since: float | None = None

    def beaten(self, after_s: float) -> bool:
        """Take note of a beat, so long after the one before; return whether the others' silence can be trusted."""
        now = time.monotonic()
        if self.since is None or after_s > AWAY_S:
            self.since = now
        return now - self.since >= STALE_AFTER_S


def recover(engine_id: uuid.UUID, peers: Sequence[Peer], *, trusts_silence: bool) -> list[tuple[Claimed, str, str]]:
    """Give back what dead engines held; return those that are over now, this engine's own, with code and step.

    Runs in the caller's transaction.
    """
    condemned = []
    for peer in peers:
        is_ours = peer.host == host_name() and peer.boot_id == boot_id()
        # Of this machine a dead process is known before its lease ends.
        is_gone = is_ours and not is_alive(peer.pid)
        if (is_gone or (peer.is_stale and trusts_silence)) and store().end_lease(peer.id, if_stale=not is_gone):
            condemned += bury(peer.id, engine_id, black_box.evidence_of(peer.id) if is_ours else Evidence())
            if is_ours:
                transaction.on_commit(partial(end, peer))
    return condemned


def bury(dead_id: uuid.UUID, engine_id: uuid.UUID, evidence: Evidence) -> list[tuple[Claimed, str, str]]:
    verdict = judge(store().held_by(dead_id), evidence)
    condemned: list[tuple[Claimed, str, str]] = []
    if verdict.accused and verdict.is_over:
        rows = store().loaded(store().take_over(verdict.accused, dead_id, engine_id))
        condemned = [(claimed, verdict.code, evidence.step) for claimed in rows]
    elif verdict.accused:
        store().accuse(verdict.accused, dead_id, counts=verdict.counts)
    given = store().inherit(dead_id, all_suspected=verdict.accused is None)
    blamed = f"; the suspected cause is {verdict.accused}, in step {evidence.step or '?'}" if verdict.accused else ""
    logger.warning("engine %s is dead, other engines continue its %s executions%s", dead_id, given, blamed)
    if evidence.has_stalled:
        logger.warning("the engine had stalled here:\n%s", black_box.traces_of(dead_id))
    transaction.on_commit(partial(black_box.remove, dead_id))
    return condemned


def end(peer: Peer) -> None:
    """Kill a dead engine's process if it still hangs, so that its sentinel starts a new worker in its place."""
    if black_box.is_of(peer.id, peer.pid):
        logger.warning("engine %s hangs: killing its process %s", peer.id, peer.pid)
        with suppress(ProcessLookupError):
            os.kill(peer.pid, signal.SIGKILL)

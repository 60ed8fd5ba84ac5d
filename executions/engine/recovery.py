"""Recovery of a dead engine's executions by its peers (docs/engine-deaths.md)."""

from __future__ import annotations

import logging
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
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

AWAY_S = STALE_AFTER_S / 2  # seconds between two beats of this engine after which it counts as having been away


class Presence:
    """Knows whether this engine has beaten for long enough to trust that a silent peer is dead.

    When the database was away, all engines were. Whichever comes back first finds the leases of all others stale,
    although they live.
    """

    def __init__(self) -> None:
        self.since: float | None = None  # monotonic time of the first beat since this engine began or was away

    def note_beat(self, after_s: float) -> None:
        """Note a beat, `after_s` seconds after the last one; call it before that beat is committed.

        Less than none says that the database's clock was set back: then all leases look stale, too.
        """
        if self.since is None or abs(after_s) > AWAY_S:
            self.since = time.monotonic()

    def trusts_silence(self, age_s: float) -> bool:
        """Return whether a stale lease means a dead peer; this engine's last beat was `age_s` seconds ago."""
        return self.since is not None and abs(age_s) <= AWAY_S and time.monotonic() - self.since >= STALE_AFTER_S


def gone_of(peers: Iterable[Peer]) -> set[uuid.UUID]:
    """Return the engines of this machine without a process: known before their leases are stale."""
    return {peer.id for peer in peers if _is_ours(peer) and not is_alive(peer.pid)}


def recover(engine_id: uuid.UUID, peers: Sequence[Peer], *, trusts_silence: bool) -> list[tuple[Claimed, str, str]]:
    """Give back the executions of dead engines; return those that must be Rejected, with reason code and step key.

    `trusts_silence` says whether a stale lease proves a death. The returned executions belong to this engine now. Runs
    in the caller's transaction; of several engines that find the same peer dead, the one that deletes its row recovers.
    """
    condemned = []
    gone = gone_of(peers)
    dead = [peer for peer in peers if peer.id in gone or (peer.is_stale and trusts_silence)]
    deaths = Counter((peer.host, peer.boot_id) for peer in dead)
    for peer in dead:
        if store().end_lease(peer.id, if_stale=peer.id not in gone):
            evidence = black_box.evidence_of(peer.id) if _is_ours(peer) else Evidence()
            died_alone = deaths[peer.host, peer.boot_id] == 1
            if _is_ours(peer):
                transaction.on_commit(partial(_kill_if_hanging, peer))  # before the black box goes
            condemned += _recover_from(peer.id, engine_id, evidence, died_alone=died_alone)
    return condemned


def _is_ours(peer: Peer) -> bool:
    """Return whether the engine runs, or ran, on this machine."""
    return peer.host == host_name() and peer.boot_id == boot_id()


def _recover_from(
    dead_id: uuid.UUID, engine_id: uuid.UUID, evidence: Evidence, *, died_alone: bool
) -> list[tuple[Claimed, str, str]]:
    """Judge the death of one engine and give its executions back; return the rejected one, if there is one."""
    verdict = judge(store().held_by(dead_id), evidence, died_alone=died_alone)
    condemned: list[tuple[Claimed, str, str]] = []
    if verdict.accused and verdict.rejects:
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


def _kill_if_hanging(peer: Peer) -> None:
    """Kill the process of a dead engine if it still hangs, so that its sentinel starts a new worker in its place."""
    if black_box.is_process_of(peer.id, peer.pid):
        logger.warning("engine %s hangs: killing its process %s", peer.id, peer.pid)
        with suppress(ProcessLookupError):
            os.kill(peer.pid, signal.SIGKILL)

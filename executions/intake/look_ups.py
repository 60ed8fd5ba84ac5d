"""Look triggers up in the event loop: in memory first, else in the database, in few threads and in turn."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from functools import cache

from django.db import Error

from executions.intake.body import Busy
from executions.intake.fair_threads import FairThreads, Full, Join, Stored
from executions.intake.live_trigger import LiveTrigger, read_triggers
from executions.store import errors

KNOWN = 2000  # triggers kept in memory: the ones used last
UNKNOWN = 10_000  # addresses without a trigger kept in memory
UNKNOWN_S = 1.0  # seconds for which an address without a trigger is not looked up again
# Threads of their own, and few of them: each keeps a connection to the database from its first look-up on.
THREADS = 2
LINE = 500  # look-ups of one client that wait at once


class LookUps:
    """The triggers that requests asked for last."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, LiveTrigger] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()  # until when, by time.monotonic; the oldest first
        self._threads = FairThreads("trigger-look-up", _look_up, threads=THREADS, line=LINE)

    async def find(self, uid: str, client: Hashable, *, is_fresh: bool) -> LiveTrigger | None:
        """Return the trigger that is live at a trigger URL, or None when there is none.

        With `is_fresh=False` it may come from memory. An old one accepts nothing wrong, because the storing transaction
        compares `live_rev`; for any other answer the caller must look it up afresh. That there is none stays true for a
        while even then: nobody knows a trigger's address before the trigger is stored, and none comes back. Raise
        Unavailable, or Busy for a client that has too many look-ups in line.
        """
        if not is_fresh and (live := self._known.get(uid)) is not None:
            self._known.move_to_end(uid)
            return live
        if self._unknown.get(uid, 0.0) > time.monotonic():
            return None
        try:
            live = await self._threads.submit(uid, client).result()
        except Full:
            raise Busy(503, "too_many_look_ups", "Too many addresses of triggers are looked up at once.") from None
        self._keep(uid, live)
        return live

    def _keep(self, uid: str, live: LiveTrigger | None) -> None:
        if live is not None:
            self._known[uid] = live
            self._known.move_to_end(uid)
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)
            return
        self._known.pop(uid, None)
        self._unknown.pop(uid, None)
        self._unknown[uid] = time.monotonic() + UNKNOWN_S
        if len(self._unknown) > UNKNOWN:
            self._unknown.popitem(last=False)


@cache
def look_ups() -> LookUps:
    """Return the process's one LookUps, whose threads start with the first use."""
    return LookUps()


def _look_up(uids: Sequence[str], _join: Join[str]) -> list[Stored[LiveTrigger | None]]:
    """Read a batch of triggers; one that the clock fires has no trigger URL."""
    try:
        found = read_triggers(set(uids))
    except Error as error:
        if not errors.let_go(error).drops:  # else the connection may have died long before these requests
            raise
        found = read_triggers(set(uids))
    return [None if isinstance(live := found.get(uid), LiveTrigger) and live.is_timed else live for uid in uids]

"""The budget of full answers to polls, so that open pages cannot take the web process away from senders."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from projects.models import Project

SHARE = 0.1  # of one core, for all organizations together
BURST_S = 0.2  # seconds of the processor that may be used at once
AROUND_S = 0.003  # seconds that session, user, rights and middleware take around a view
KNOWN_PROJECTS = 1000  # of which the owner is remembered; those without a debt are forgotten first


class Budget:
    """What full answers to polls have cost each organization lately; those that ask now share the budget equally."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Begin anew, with no debts."""
        self._owners: dict[str, uuid.UUID] = {}  # project, as its address has it → organization
        self._debts: dict[uuid.UUID, float] = {}  # seconds of the processor, still to be waited for
        self._settled_at = time.monotonic()

    def wait_s(self, project: str) -> float:
        """Return the seconds after which the project's organization has a full answer to its credit again."""
        with self._lock:
            owner = self._owners.get(project)
            if owner is None:
                return 0.0
            self._settle()
            asking = max(1, len(self._debts))
            return max(0.0, self._debts.get(owner, 0.0) - BURST_S / asking) * asking / SHARE

    @contextmanager
    def charged(self, project: Project) -> Iterator[None]:
        """Charge the project's organization with what the block costs."""
        before = time.thread_time()
        try:
            yield
        finally:
            self._charge(project, time.thread_time() - before + AROUND_S)

    def _charge(self, project: Project, cost_s: float) -> None:
        with self._lock:
            self._settle()
            owner = project.organization_id
            self._owners[str(project.pk)] = owner
            self._debts[owner] = self._debts.get(owner, 0.0) + cost_s

    def _settle(self) -> None:
        """Take off what the time since the last look pays, and forget who owes nothing."""
        now = time.monotonic()
        paid = (now - self._settled_at) * SHARE / max(1, len(self._debts))
        self._settled_at = now
        self._debts = {owner: debt - paid for owner, debt in self._debts.items() if debt > paid}
        if len(self._owners) > KNOWN_PROJECTS:
            self._owners = {project: owner for project, owner in self._owners.items() if owner in self._debts}


budget = Budget()

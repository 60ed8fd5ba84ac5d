"""The store: all that engines and intake do to the database, under names that hold for both dialects."""

from __future__ import annotations

from executions.store.accepting import Accepting
from executions.store.claims import Claims
from executions.store.leases import Leases
from executions.store.results import Results
from executions.store.schedules import Schedules


class Store(Accepting, Leases, Claims, Results, Schedules):
    """Every statement in one place. A process has one instance, which holds no state."""

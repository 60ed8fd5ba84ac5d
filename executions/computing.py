"""The compute children of this process, for an organization."""

from __future__ import annotations

import sys
import uuid
from functools import cache

from django.conf import settings

from connectors.compute.pool import Pool
from connectors.compute.shared import Compute

WAITING_LIMIT = 8  # jobs of one organization that may wait where a person or a sender waits, too


def new_pool(waiting_limit: int = sys.maxsize) -> Pool:
    return Pool(
        children=settings.COMPUTE_CHILDREN,
        seconds=settings.COMPUTE_TIME_S,
        megabytes=settings.COMPUTE_MEMORY_MB,
        waiting_limit=waiting_limit,
    )


def compute_for(organization_id: uuid.UUID) -> Compute:
    """Return what computes for an organization in this process, outside of the engine, which has a pool of its own."""
    return Compute(_pool(), organization_id)


@cache
def _pool() -> Pool:
    return new_pool(WAITING_LIMIT)

"""Which organizations use the engines, as the engines tell with each beat."""

from __future__ import annotations

import json
import uuid
from collections import Counter

from executions.models import Engine


def slots_by_organization() -> tuple[Counter[uuid.UUID], int]:
    """Return the slots of the organizations that hold most in each engine, and the slots of all, as of the last beats.

    An organization with few slots in an engine, where many hold more, is missing there.
    """
    held: Counter[uuid.UUID] = Counter()
    total = 0
    for holders, running in Engine.objects.values_list("holders", "running"):
        held.update({uuid.UUID(organization): slots for organization, slots in json.loads(holders).items()})
        total += running
    return held, total

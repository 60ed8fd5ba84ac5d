"""The faults by name. To add one, see docs/chaos.md."""

from __future__ import annotations

from chaos.faults import copies, database, machines, outages, processes, requests, resources
from chaos.faults.kinds import Fault

FAULTS: dict[str, Fault] = {
    name: fault
    for room in (processes, requests, database, machines, resources, copies, outages)
    for name, fault in room.FAULTS.items()
}

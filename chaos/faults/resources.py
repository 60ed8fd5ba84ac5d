"""Faults of what a machine runs out of: files, and room on the disk of DATA_DIR."""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from chaos.faults.kinds import Fault
from harness.processes import descendants, until

if TYPE_CHECKING:
    from chaos.nemesis import Nemesis

OUT_S, SHORTLY_S = 10.0, 3.0  # seconds without files or room: long and short form
BACK_S = 90.0  # seconds within which the engines are there again


def use_up_files(nemesis: Nemesis) -> None:
    """Take the right to open another file from each process of a machine."""
    before: dict[int, tuple[int, int]] = {}
    for pid in _processes(nemesis):
        with suppress(OSError):  # it has ended
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), hard))
            before[pid] = soft, hard
    time.sleep(nemesis.seconds(OUT_S, SHORTLY_S))
    for pid, limits in before.items():
        with suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def _processes(nemesis: Nemesis) -> set[int]:
    first = {process.pid for process in (nemesis.place.web, nemesis.place.cluster) if process}
    return first | {child for pid in first for child in descendants(pid)}


def fill_the_disk(nemesis: Nemesis) -> None:
    """Leave no room under way; no engine ends."""
    disk = nemesis.scene.disk_of(nemesis.place)
    disk.fill()
    time.sleep(nemesis.seconds(OUT_S, SHORTLY_S))
    disk.free()


def start_on_a_full_disk(nemesis: Nemesis) -> None:
    """Start a cluster while there is no room: its engines begin once there is."""
    disk = nemesis.scene.disk_of(nemesis.place)
    nemesis.cluster.kill()
    disk.fill()
    nemesis.place.cluster = nemesis.place.launch_cluster()
    time.sleep(nemesis.seconds(OUT_S, SHORTLY_S))
    disk.free()
    until(lambda: nemesis.scene.engines(nemesis.place), within=BACK_S, what="an engine begins once there is room")


ON_SQLITE, ON_POSTGRESQL = frozenset({"disk", "sqlite"}), frozenset({"disk", "postgresql"})
FAULTS = {
    "a machine is out of files": Fault(strike=use_up_files, hits_web=True, takes_s=OUT_S),
    "the disk is full": Fault(strike=fill_the_disk, hits_web=True, takes_s=OUT_S, needs=ON_SQLITE),
    "the disk of a machine is full": Fault(strike=fill_the_disk, takes_s=OUT_S, needs=ON_POSTGRESQL),
    "the disk is full at a start": Fault(
        strike=start_on_a_full_disk, hits_web=True, hits_engines=True, takes_s=OUT_S, needs=ON_SQLITE
    ),
    "the disk of a machine is full at a start": Fault(
        strike=start_on_a_full_disk, hits_engines=True, takes_s=OUT_S, needs=ON_POSTGRESQL
    ),
}

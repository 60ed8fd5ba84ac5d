"""The faults of the long form: the database or the cluster is away for longer than a lease or a schedule's minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from chaos.faults.database import hold_file
from chaos.faults.kinds import Fault

if TYPE_CHECKING:
    from chaos.nemesis import Nemesis

ABSENCE_S = 70.0  # seconds, within which one fire time lies, or two
OUTAGE_S = 15.0  # seconds: longer than an engine's lease, and than a sender waits for a commit
CALM_S = 10.0  # seconds, after which no earlier fault explains an error
IN_FLIGHT = 12
STRANGERS = 6
LATE_S = 2.0  # seconds until the database is surely away; it stays away for longer than a sender waits


def no_cluster(nemesis: Nemesis) -> None:
    """Let fire times pass while no cluster runs; the next cluster makes up for the latest."""
    gone = time.time()
    for place in nemesis.scene.places:
        assert place.cluster is not None
        place.cluster.kill()
    time.sleep(ABSENCE_S)
    for place in nemesis.scene.places:
        place.start_cluster()
    nemesis.absences.append((gone, time.time()))


def postgresql_away(nemesis: Nemesis) -> None:
    server = nemesis.scene.server
    assert server is not None

    def be_away() -> None:
        server.stop()
        time.sleep(OUTAGE_S)
        server.start()

    _away_in_the_middle(nemesis, be_away)


def file_held(nemesis: Nemesis) -> None:
    _away_in_the_middle(nemesis, lambda: hold_file(nemesis, OUTAGE_S))


def _away_in_the_middle(nemesis: Nemesis, be_away: Callable[[], None]) -> None:
    """Take the database away while never-repeat steps act, and while senders post who do not repeat.

    The engines live on, so that no step may end as interrupted; some of the senders must be refused, with 503.
    """
    time.sleep(CALM_S)
    with ThreadPoolExecutor(IN_FLIGHT + STRANGERS) as pool:
        for _ in range(IN_FLIGHT):
            pool.submit(nemesis.driver.post, "once", key=nemesis.new_key("away"))
        time.sleep(0.3)
        start = time.time()
        for _ in range(STRANGERS):
            pool.submit(_come_late, nemesis)
        be_away()
        nemesis.outages.append((start, time.time()))


def _come_late(nemesis: Nemesis) -> None:
    time.sleep(LATE_S)
    nemesis.driver.post("transform")


AWAY: dict[str, Any] = {"hits_web": True, "is_everywhere": True, "is_long": True, "takes_s": 30.0}
FAULTS = {
    "no cluster runs for 70 s": Fault(strike=no_cluster, hits_engines=True, is_everywhere=True, is_long=True),
    "PostgreSQL is away for 15 s": Fault(strike=postgresql_away, needs=frozenset({"postgresql"}), **AWAY),
    "another writer holds the file for 15 s": Fault(strike=file_held, needs=frozenset({"sqlite"}), **AWAY),
}

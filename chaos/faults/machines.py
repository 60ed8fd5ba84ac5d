"""Faults of a whole machine beside another one: it stands still, loses its network, or takes the other's name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any

from chaos.faults.kinds import Fault
from harness.processes import until

if TYPE_CHECKING:
    from chaos.nemesis import Nemesis

STILL_S = 15.0  # seconds: longer than a lease
RUSHING, RUSH_S = 12, 0.5  # senders, seconds before and after a machine is back
BACK_S = 90.0  # seconds within which a machine works again
AN_HOUR_S = 3600
BACK_IN_TIME_S, SHORTLY_S = 20.0, 4.0  # seconds for which a clock is wrong: long and short form
BEATS = 3  # in which each engine looks at its peers


def freeze(nemesis: Nemesis) -> None:
    """Let a machine stand still under load until its peers have taken over, and go on as if nothing had happened."""
    nemesis.host.freeze()
    _be_silent(nemesis)
    with _rush(nemesis):  # so that there is something to claim for engines that do not know yet
        nemesis.host.thaw()
        time.sleep(RUSH_S)
    _be_back(nemesis)


def cut(nemesis: Nemesis) -> None:
    """Pull a machine's network cable; its engines work on without the database and the outside."""
    nemesis.host.cut()
    _be_silent(nemesis)
    nemesis.host.mend()
    _be_back(nemesis)


@contextmanager
def _rush(nemesis: Nemesis) -> Iterator[None]:
    """Post to the other machines as fast as they answer, from a moment before the block to its end."""
    others, is_over = [place for place in nemesis.scene.places if place is not nemesis.place], Event()

    def post() -> None:
        while not is_over.is_set():
            nemesis.driver.post("chain", key=nemesis.new_key("rush"), place=nemesis.random.choice(others))

    with ThreadPoolExecutor(RUSHING) as pool:
        for _ in range(RUSHING):
            pool.submit(post)
        try:
            time.sleep(RUSH_S)
            yield
        finally:
            is_over.set()


def _be_silent(nemesis: Nemesis) -> None:
    """Wait for STILL_S; in the short form until the peers have ended the leases of the silent engines."""
    start = time.monotonic()
    until(lambda: not nemesis.scene.engines(nemesis.place), within=BACK_S, what="the peers have ended the leases")
    time.sleep(max(0.0, start + nemesis.seconds(STILL_S, 0.0) - time.monotonic()))


def _be_back(nemesis: Nemesis) -> None:
    until(lambda: nemesis.scene.engines(nemesis.place), within=BACK_S, what="the machine has engines again")
    until(lambda: nemesis.place.answers(), within=BACK_S, what="the machine's web server answers")


def share_a_name(nemesis: Nemesis) -> None:
    """Give a machine the other's host name, or its own name back, and start its cluster anew: nobody may be buried."""
    host, other = nemesis.host, next(each for each in nemesis.scene.hosts if each is not nemesis.host)
    cluster = nemesis.cluster
    cluster.end()
    host.rename(other.name if host.host_name == host.name else host.name)
    nemesis.place.start_cluster()
    before = {engine.id for engine in nemesis.scene.engines()}
    time.sleep(BEATS * nemesis.scene.lease_s / 5)
    for gone in sorted(before - {engine.id for engine in nemesis.scene.engines()}):
        nemesis.wrong("I12 an engine was buried beside one of the same host name", gone)


def set_clock_back(nemesis: Nemesis) -> None:
    """Set a machine's clock back for a while, as before it learns the right time again."""
    clock = nemesis.scene.clocks[nemesis.place.name]
    clock.move(-AN_HOUR_S)
    time.sleep(nemesis.seconds(BACK_IN_TIME_S, SHORTLY_S))
    clock.move(0)


TWO = frozenset({"hosts"})
SILENT: dict[str, Any] = {"hits_web": True, "hits_engines": True, "takes_s": 18.0, "needs": TWO}
FAULTS = {
    "a machine stands still for 15 s": Fault(strike=freeze, **SILENT),
    "a machine loses its network for 15 s": Fault(strike=cut, **SILENT),
    "a machine's clock is set back": Fault(strike=set_clock_back, takes_s=BACK_IN_TIME_S, needs=frozenset({"clocks"})),
    "one host name for both machines": Fault(strike=share_a_name, ends_engines=True, needs=TWO),
}

"""What a fault is, and for how long it explains what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.nemesis import Nemesis

AFTERMATH_S = 10.0  # seconds after a fault for which it explains an error of the web server
SLOW_REPLY = 504  # to a caller of a Response step, as faults of the cluster delay the reply
REPLY_S = 30.0  # seconds that such a caller waits, from a request that came before the fault was over


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault; `strike` returns when its damage is done and repaired."""

    strike: Callable[[Nemesis], None]
    hits_web: bool = False  # it explains errors of the web server
    holds_file: bool = False  # it hits the web server when the database is a file: what stands still may hold its lock
    hits_engines: bool = False  # it takes engines away, so that never-repeat steps may end as interrupted
    ends_engines: bool = False  # engines end in order
    is_everywhere: bool = False  # it reaches all machines; others reach the one that the nemesis has chosen
    is_long: bool = False  # it has no short form
    takes_s: float = 4.0  # seconds in the long form, for which traffic goes on
    lasts_s: float = 0.0  # seconds after which its last victim has died
    needs: frozenset[str] = frozenset()  # what a scene must offer


@dataclass(frozen=True, slots=True)
class Window:
    """The time of a fault, and the machine that it met. A fault of the web server explains its errors there and then,
    and for AFTERMATH_S more.
    """

    name: str
    fault: Fault
    start: float
    end: float
    place: str = ""
    backend: str = ""

    def excuses(self, status: int, at: float, place: str = "") -> bool:
        """Return whether the fault explains an answer with this status (0 for none) at that time from that machine."""
        if status == SLOW_REPLY:
            return self.start <= at <= self.end + AFTERMATH_S + REPLY_S
        return self.hits_web and self.reaches(place) and self.start <= at <= self.end + AFTERMATH_S

    def explains_death(self, at: float, place: str = "", *, is_engine: bool = True) -> bool:
        """Return whether the fault explains that an engine, or a web server's process, of that machine was missed."""
        hits = self.fault.hits_engines or self.fault.ends_engines if is_engine else self.hits_web
        return hits and self.reaches(place) and self.start <= at <= self.over + AFTERMATH_S

    @property
    def hits_web(self) -> bool:
        return self.fault.hits_web or (self.fault.holds_file and self.backend == "sqlite")

    def reaches(self, place: str) -> bool:
        return self.fault.is_everywhere or self.place == place

    @property
    def over(self) -> float:
        """Return when the fault's last victim has died: a poisoned step kills its third engine after the fault."""
        return self.end + self.fault.lasts_s

"""A request to stop an execution. A person who cancels one makes it; whatever else must stop one makes it likewise.

The execution's own row holds the request. One that waits ends at once (`executions.models.stopping`). One that runs
ends before its next step or try: its engine reads the request with the claim, with each commit of its steps, and once
with every beat, and the runner finds it in `Claimed.stop`.
"""

from __future__ import annotations

from dataclasses import dataclass

CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Stop:
    """Why an execution is to end: its reason code, and a sentence without its full stop, such as "Cancelled by ada"."""

    code: str
    reason: str

    def at(self, place: str) -> str:
        """Return the execution's reason: the sentence, and where it stopped."""
        return f"{self.reason} {place}."


def cancelled_by(person: str) -> Stop:
    return Stop(CANCELLED, f"Cancelled by {person}")


def stop_of(code: str | None, reason: str | None) -> Stop | None:
    """Return the request that a row's two columns hold, or None."""
    return Stop(code, reason or "Stopped") if code else None

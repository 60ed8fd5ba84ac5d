"""How long a failed step waits for its next try."""

from __future__ import annotations

from random import Random

LONGEST_S = 3600.0  # seconds; doubled without end, ten tries would take weeks
# Executions that failed at one instant, because a service was down, must not all come back at one instant.
EARLIEST = 0.5  # of the wait, the rest of which is random
LATEST_ASKED = 1.25  # of the wait that the other service asked for, never less than that


def wait_s(first_s: float, tries: int, asked_s: float, seed: str) -> float:
    """Return the seconds until the next try after `tries` of them; the same seed gives the same seconds.

    `first_s` doubles with each try up to LONGEST_S, and between half and all of it is waited. A service that asked for
    a longer wait gets it, and up to a quarter more.
    """
    part = Random(f"{seed}-{tries}").random()  # noqa: S311  (spreads load, guards nothing)
    own = min(LONGEST_S, first_s * 2.0 ** (tries - 1)) * (EARLIEST + (1 - EARLIEST) * part)
    return max(own, asked_s * (1 + (LATEST_ASKED - 1) * part))

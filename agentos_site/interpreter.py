"""The Python that runs AgentOS, as it was built."""

from __future__ import annotations

import sysconfig

SLOW = "This Python was built without optimizations (PGO); AgentOS needs about a quarter more CPU on it."


def is_optimized() -> bool:
    """Return whether this Python was built with profile-guided optimization.

    `configure` leaves the flag of its profile in place, used or not; Debian, which trains its builds in its own way,
    empties it.
    """
    asked = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return "--enable-optimizations" in asked or not sysconfig.get_config_var("PGO_PROF_USE_FLAG")

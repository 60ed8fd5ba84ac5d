"""How `pytest -n` hands the tests out: a file's tests of one database go to one worker, and long files go first."""

from __future__ import annotations

from typing import Any

import pytest

# Last, one would keep a single worker busy.
LONGEST = ("test_chaos.py", "test_machines.py", "test_hostile.py", "test_run.py", "test_retention_live.py")


def long_ones_first(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def schedule(config: pytest.Config, log: Any) -> Any:
    """Return how xdist is to hand out the tests; its own grouping by mark does nothing under pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling  # here, because tests run without xdist too

    class ByFileAndDatabase(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            return file + next((name for name in ("sqlite", "postgresql") if f"[{name}" in test), "")

    return ByFileAndDatabase(config, log)

"""The chaos harness in short, on both databases: `python -m chaos` is the long form (docs/chaos.md)."""

from __future__ import annotations

import pytest

from chaos import trial
from tools.postgresql import Missing, binaries

ACCEPTED = 300
FAULTS = (
    "a step kills its worker (R16)",
    "kill -9 between effect and result (R2)",
    "kill -9 the web server (R5, R6)",
    "Retry pressed by five (R31)",
    "kill -9 the cluster (R3)",
)
OF = {"sqlite": "another writer holds the file (R28)", "postgresql": "PostgreSQL crashes (R7)"}


@pytest.mark.cluster
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_promise_is_kept_when_everything_is_killed(database: str) -> None:
    if database == "postgresql":
        try:
            binaries()
        except Missing as missing:
            pytest.skip(str(missing))
    faults = (*FAULTS, OF[database])

    assert trial.run(database, trial.Trial(ACCEPTED, len(faults), seed=1, only=faults), say=print)

"""Two machines beside each other, in short: `python -m chaos --hosts 2` is the long form (docs/chaos.md)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harness import hosts
from harness.postgresql import Missing, binaries
from harness.processes import ROOT

ACCEPTED = 60
FAULTS = ("a machine stands still", "one host name for both", "a stranger locks a row")
PATIENCE_S = 400  # on a machine that runs four tests at once

pytestmark = pytest.mark.cluster


def test_every_promise_is_kept_when_one_of_two_machines_stands_still() -> None:
    try:
        hosts.check()
        binaries()
    except (hosts.Missing, Missing) as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    only = [word for fault in FAULTS for word in ("--only", fault)]

    trial = subprocess.Popen(
        [sys.executable, "-m", "chaos", "--hosts", "2", "--quick", "--accepted", str(ACCEPTED),
         "--faults", str(len(FAULTS)), "--seed", "1", *only],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        said, _ = trial.communicate(timeout=PATIENCE_S)
    finally:
        trial.terminate()  # it ends its machines
        trial.wait(60)

    assert trial.returncode == 0, said
    assert "every promise was kept" in said

"""What outlives a test's installation is named and killed: its test fails, and no other test is hurt by it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.databases import SqliteDatabase
from harness.installation import Installation, ended
from harness.processes import ROOT, is_running

pytestmark = pytest.mark.cluster

TWO_TESTS = """
import fcntl
import pytest
from harness.databases import SqliteDatabase
from harness.installation import Installation, ended
from tests.harness.test_leftovers import leave_behind

@pytest.fixture
def installation(tmp_path_factory):
    made = Installation(tmp_path_factory.getbasetemp(), SqliteDatabase(tmp_path_factory.getbasetemp()))
    with ended(made):
        yield made

def test_that_leaves_a_process_behind(installation):
    leave_behind(installation.environment, f"flock {installation.directory}/run.lock sleep 60")

def test_that_needs_the_lock(installation):
    with (installation.directory / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""


def leave_behind(environment: Mapping[str, str], command: str) -> int:
    """Start a process that shares neither parent nor group nor session with what it was started by; return its id."""
    shell = f"setsid {command} >/dev/null 2>&1 & echo $!"
    return int(subprocess.run(["sh", "-c", shell], env=dict(environment), capture_output=True, check=True).stdout)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """Return an installation of which nothing is there but its directory."""
    return Installation(tmp_path, SqliteDatabase(tmp_path))


def test_a_leftover_is_killed_and_named_with_its_parent_command_and_test(installation: Installation) -> None:
    pid = 0
    with pytest.raises(AssertionError) as raised, ended(installation):
        pid = leave_behind(installation.environment, "sleep 60")

    assert not is_running(pid)
    said = str(raised.value)
    assert f"process {pid} (parent " in said
    assert "test_a_leftover_is_killed_and_named_with_its_parent_command_and_test" in said
    assert said.endswith(": sleep 60")


def test_what_was_started_or_ends_by_itself_is_no_leftover(installation: Installation) -> None:
    with ended(installation):
        started = installation.launch("started.log", "-c", "import time; time.sleep(60)")
        leave_behind(installation.environment, "sleep 0.5")

    assert not started.is_alive


def test_the_processes_of_another_installation_stay(installation: Installation, tmp_path: Path) -> None:
    other = Installation(tmp_path / "other", SqliteDatabase(tmp_path))
    pid = leave_behind(other.environment, "sleep 60")

    with ended(installation):
        pass

    assert is_running(pid)
    with pytest.raises(AssertionError, match=str(pid)):
        other.check_leftovers()


def test_only_the_test_that_left_a_process_behind_fails(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(TWO_TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null"]

    done = subprocess.run(
        [*command, str(tmp_path / "test_two.py")], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert re.search(r"^2 passed, .*1 error", done.stdout, re.MULTILINE), done.stdout
    assert "ERROR at teardown of test_that_leaves_a_process_behind" in done.stdout

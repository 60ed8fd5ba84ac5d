"""Subjects of commits are `area: imperative`, and no clone is too poor for the check."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from tools.commits import SINCE

TOOL = Path(settings.BASE_DIR) / "tools" / "commits.py"
GIT = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"]


def check(tool: Path, *arguments: Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = None if path is None else {"PATH": path}
    return subprocess.run([sys.executable, tool, *arguments], env=environment, capture_output=True, text=True)


def commit(checkout: Path, subject: str, *, at: str = "2099-05-04T03:02:01Z") -> None:
    subprocess.run([*GIT, "add", "."], cwd=checkout, check=True)
    environment = os.environ | {"GIT_COMMITTER_DATE": at}
    subprocess.run([*GIT, "commit", "-q", "--allow-empty", "-m", subject], cwd=checkout, env=environment, check=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a repository whose first commit is older than the check."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "tools").mkdir()
    shutil.copy(TOOL, tmp_path / "tools")
    commit(tmp_path, "Older than the check", at=SINCE.replace(":10:", ":09:"))
    return tmp_path


@pytest.mark.parametrize(
    ("subject", "is_good"),
    [
        ("mail: treat gaierror as not sent", True),
        ("executions/log, step tests: give the attempt a column", True),
        (".ci: install make where it is missing", True),
        ("Merge branch 'mail'", True),
        ("mail: " + "a" * 66, True),
        ("mail: " + "a" * 67, False),
        ("Treat gaierror as not sent", False),
        ("mail: Treat gaierror as not sent", False),
        ("mail: treat gaierror as not sent.", False),
        ("mail:treat gaierror as not sent", False),
        ("", False),
    ],
)
def test_message_is_judged_by_its_first_line(tmp_path: Path, subject: str, is_good: bool) -> None:
    message = tmp_path / "message"
    message.write_text(f"{subject}\n\nThe reason, In Any Form.\n")

    assert (check(TOOL, message).returncode == 0) is is_good


def test_commits_since_the_check_are_judged(checkout: Path) -> None:
    commit(checkout, "mail: treat gaierror as not sent")
    assert check(checkout / "tools" / "commits.py").returncode == 0

    commit(checkout, "Fix it")
    done = check(checkout / "tools" / "commits.py")

    assert done.returncode == 1
    assert done.stdout == "Fix it: not `area: imperative`\n"


def test_shallow_clone_is_judged_as_far_as_it_reaches(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    commit(checkout, "Fix it")
    commit(checkout, "mail: treat gaierror as not sent")
    clone = tmp_path_factory.mktemp("clone")
    subprocess.run(["git", "clone", "-q", "--depth", "1", checkout.as_uri(), clone], check=True)

    assert check(clone / "tools" / "commits.py").returncode == 0


def test_missing_history_and_missing_git_are_said_and_pass(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    tool = Path(shutil.copy(TOOL, tmp_path / "tools"))

    for done in (check(tool), check(tool, path="/nowhere")):
        assert done.returncode == 0
        assert "commit subjects are not checked" in done.stdout

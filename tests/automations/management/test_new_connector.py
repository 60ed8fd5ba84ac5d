"""`manage.py new_connector` in a copy of the checkout: what it writes passes every check as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

ROOT = Path(__file__).resolve().parent.parent.parent.parent
# The checks of `make lint` that a new connector can fail; types are checked for its own files, which takes long enough.
CHECKS = (
    ["-m", "ruff", "check", "."],
    ["-m", "ruff", "format", "--check", "."],
    ["-m", "mypy", "connectors/loud_siren.py", "tests/connectors/test_loud_siren.py"],
    [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"],
    ["-m", "tools.reference", "--check"],
    [
        "-m",
        "pytest",
        "-q",
        "tests/connectors/test_loud_siren.py",
        "tests/executions/test_codes.py",
        "-p",
        "no:cacheprovider",
    ],
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout without what commands made there."""
    beside = shutil.ignore_patterns(".git", ".venv*", ".*cache", ".hypothesis", "__pycache__", "var", "node_modules")
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("checkout") / "agentos", ignore=beside))


def run(checkout: Path, *arguments: str) -> str:
    """Run a command in the copy with this environment's Python, and return what it says; it has to succeed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.cluster  # as long as one with a cluster: it starts a dozen processes
def test_new_connector_passes_the_checks_and_its_own_tests(checkout: Path) -> None:
    said = run(checkout, "manage.py", "new_connector", "loud_siren")

    assert [line for line in said.splitlines() if line.startswith("wrote ")] == [
        f"wrote {path}"
        for path in (
            "connectors/loud_siren.py",
            "tests/connectors/test_loud_siren.py",
            "connectors/registry.py",
            "docs/connectors/README.md",
            "docs/connectors/loud_siren.md",
        )
    ]
    for check in CHECKS:
        run(checkout, *check)
    assert '<symbol id="plug"' in (checkout / "static" / "icons.svg").read_text()
    assert "| [Loud siren](loud_siren.md) |" in (checkout / "docs" / "connectors" / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Help", "“Help” cannot be a connector's name. Use lower-case words joined by underscores, such as help_desk"),
        ("help desk", "cannot be a connector's name"), ("help-desk", "cannot be a connector's name"),
        ("_help", "cannot be a connector's name"), ("help__desk", "cannot be a connector's name"),
        ("", "cannot be a connector's name"), ("../help", "cannot be a connector's name"),
        ("h" * 31, "30 characters at most"), ("class", "“class” is a keyword of Python. Choose another name."),
        ("http", "connectors/http.py already exists. Choose another name."),
        ("schedule", "connectors/schedule already exists"), ("registry", "connectors/registry.py already exists"),
        ("actions", "tests/connectors/test_actions.py already exists"),
    ],
)  # fmt: skip
def test_name_is_refused(name: str, reason: str, checkout: Path, settings: Settings) -> None:
    settings.BASE_DIR = checkout
    before = sorted(checkout.rglob("*.py"))

    with pytest.raises(CommandError) as refused:
        call_command("new_connector", name)

    assert reason in str(refused.value)
    assert sorted(checkout.rglob("*.py")) == before


def test_registry_that_was_rearranged_is_left_alone(tmp_path: Path, settings: Settings) -> None:
    settings.BASE_DIR = tmp_path
    (tmp_path / "connectors").mkdir()
    (tmp_path / "connectors" / "registry.py").write_text("NAMES = ()\n")

    with pytest.raises(CommandError, match=r"connectors/registry.py has no line"):
        call_command("new_connector", "loud_siren")

    assert [path.name for path in tmp_path.rglob("*.py")] == ["registry.py"]

"""What an installation keeps is its owner's alone, from the first moment on."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.databases import SqliteDatabase
from harness.installation import Installation, copy_of, ended
from harness.processes import ROOT, until

NOBODY = 65534
IMPORT = "from agentos_site.private_files import keep_private"


def open_to_others(folder: Path) -> list[str]:
    """Return what accounts other than the owner may do something with."""
    paths = [folder, *folder.rglob("*")]
    return [str(path) for path in paths if not path.is_symlink() and path.lstat().st_mode & 0o077]


@pytest.fixture
def umask() -> Iterator[None]:
    """Have the usual umask for the test."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def fresh(umask: None, tmp_path: Path) -> Iterator[Installation]:
    """Return an installation in a folder that does not exist yet."""
    installation = Installation(tmp_path / "data" / "agentos", SqliteDatabase(tmp_path / "data" / "agentos"))
    with ended(installation):
        yield installation


@pytest.fixture
def installed(umask: None, prepared: Installation, tmp_path: Path) -> Iterator[Installation]:
    """Return an installation with keys and a database."""
    (tmp_path / "agentos").mkdir(0o700)
    with copy_of(prepared, tmp_path / "agentos") as copy:
        yield copy


@pytest.mark.cluster
def test_a_fresh_installation_is_private_from_the_first_moment(fresh: Installation) -> None:
    fresh.prepare()
    assert open_to_others(fresh.directory) == []

    service = fresh.start_service()
    for file in ("engines/*", "*-wal", "doorbells/*/*"):
        until(lambda file=file: list(fresh.directory.glob(file)), within=30, what=f"{file} is there")  # type: ignore[misc]

    mine = fresh.directory / "service.log"  # opened by this test, before the service has begun
    assert [path for path in open_to_others(fresh.directory) if path != str(mine)] == []
    service.terminate()


@pytest.mark.parametrize("command", [["-m", "agentos_site"], ["-m", "agentos_site.web"], ["manage.py", "qcluster"]])
def test_an_open_installation_is_mended_at_its_next_start(installed: Installation, command: list[str]) -> None:
    (installed.directory / "notes").mkdir()
    (installed.directory / "notes" / "script.sh").touch(0o700)
    for path in [installed.directory, *installed.directory.rglob("*")]:
        if path.is_symlink():
            continue
        path.chmod(0o755 if path.is_dir() or path.suffix == ".sh" else 0o644)

    process = installed.launch("start.log", *command)
    until(lambda: "now only their owner can" in process.output, within=30, what="the log says what was mended")

    assert open_to_others(installed.directory) == []
    assert stat.S_IMODE((installed.directory / "notes" / "script.sh").stat().st_mode) == 0o700
    assert str(installed.directory) in process.output


def test_a_link_to_elsewhere_is_left_alone(installed: Installation, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(0o755)
    (elsewhere / "file").touch(0o644)
    (installed.directory / "link").symlink_to(elsewhere)

    installed.manage("check")

    assert stat.S_IMODE((elsewhere / "file").stat().st_mode) == 0o644
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755


def test_a_database_elsewhere_is_private_too(installed: Installation, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere.sqlite3"
    place.touch(0o644)

    said = subprocess.run(
        [sys.executable, "-c", f"{IMPORT}; keep_private()"], cwd=ROOT, text=True, capture_output=True, check=True,
        env=installed.environment | {"DATABASE_URL": f"sqlite:///{place}?timeout=20"},
    )  # fmt: skip

    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert "Other accounts of this machine could read 1 files" in said.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs two accounts")
def test_what_belongs_to_another_account_is_told_and_stops_nothing(installed: Installation, tmp_path: Path) -> None:
    place = Path("/tmp") / f"agentos-test-{os.getpid()}"
    place.mkdir(0o755)
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"{IMPORT}; import os; os.setuid({NOBODY}); keep_private()"],
            cwd=ROOT, text=True, capture_output=True, check=False,
            env=installed.environment | {"DATA_DIR": str(place), "DATABASE_URL": ""},
        )  # fmt: skip
        assert stat.S_IMODE(place.stat().st_mode) == 0o755
    finally:
        place.rmdir()
    assert done.returncode == 0, done.stderr
    assert f"Other accounts may read {place}, and AgentOS cannot change that" in done.stderr

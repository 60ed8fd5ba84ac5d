"""Backups: whole or not there, private, restored into empty installations only; and the commands of their page."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from harness.automations import TRANSFORM, make
from harness.databases import SqliteDatabase
from harness.installation import Installation, copy_of
from harness.processes import ROOT, until
from tests.agentos_site.test_copies import empty_installation, is_quiet

PAGE = ROOT / "docs" / "backup.md"
BLOCK = re.compile(r"^```sh\n# ([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def backed_up(template: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Return an installation, nothing started, with a backup with keys in its folder `backup`."""
    with copy_of(template, tmp_path_factory.mktemp("backed-up")) as copy:
        make(copy, {"transform": [TRANSFORM]})
        copy.manage("backup", str(copy.directory / "backup"), "--with-keys")
        yield copy


@pytest.fixture(scope="module")
def empty(backed_up: Installation) -> Iterator[Installation]:
    with empty_installation(backed_up, backed_up.directory / "empty") as installation:
        yield installation


def test_a_backup_is_its_owners_alone(backed_up: Installation) -> None:
    folder = backed_up.directory / "backup"

    modes = {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))}

    data = "database.sqlite3" if backed_up.backend == "sqlite" else "database.dump"
    files = {"manifest.json", data, "keys/secret.key", "keys/field.keys"}
    assert modes == {".": 0o700, "keys": 0o700} | dict.fromkeys(files, 0o600)


@contextmanager
def writing(installation: Installation) -> Iterator[list[int]]:
    """Write all the time; each row holds the number of rows before it. Yield the number of writes."""
    writes, is_over = [0], threading.Event()
    installation.query("CREATE TABLE written (id int, before_it int)")

    def write() -> None:
        while not is_over.is_set():
            installation.query("INSERT INTO written SELECT COALESCE(MAX(id), 0) + 1, COUNT(*) FROM written")
            writes[0] += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield writes
    finally:
        is_over.set()
        thread.join()


def test_a_backup_is_of_one_moment_and_ends_while_others_write(installation: Installation, tmp_path: Path) -> None:
    installation.query("CREATE TABLE padding (bytes text)")
    installation.query("INSERT INTO padding VALUES (%s)", ["x" * 20_000_000])
    with writing(installation) as writes:
        until(lambda: writes[0] > 10)
        before = writes[0]
        installation.manage("backup", str(tmp_path / "backup"))
        assert writes[0] > before + 10, "nobody waited for it"

    with empty_installation(installation, tmp_path / "copy") as copy:
        copy.manage("restore", str(tmp_path / "backup"))
        rows, last, wrong = copy.query(
            "SELECT COUNT(*) AS rows_, MAX(id) AS last, SUM(CASE WHEN before_it <> id - 1 THEN 1 ELSE 0 END) AS wrong"
            " FROM written"
        )[0].values()

    assert rows == last > before - 1
    assert wrong == 0


def test_a_killed_backup_is_not_there(installation: Installation, tmp_path: Path) -> None:
    installation.query("CREATE TABLE padding (bytes text)")
    installation.query("INSERT INTO padding VALUES (%s)", ["x" * 100_000_000])
    folder = tmp_path / "backups" / "today"

    command = [sys.executable, "manage.py", "backup", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, env=installation.environment, start_new_session=True) as backup:
        until(lambda: list(tmp_path.glob("backups/.today.*.part/database.*")), within=30, every=0.001)
        os.killpg(backup.pid, signal.SIGKILL)

    assert not folder.exists()
    part = next(tmp_path.glob("backups/.today.*.part"))
    refused(installation, part, "is not a whole backup")


def refused(installation: Installation, folder: Path, words: str, command: str = "restore") -> None:
    """Give a command, without the second that a process of its own would take, and check that it refuses."""
    code = f"from django.core.management import call_command\ncall_command({command!r}, {str(folder)!r})"
    with pytest.raises(AssertionError, match=f"CommandError: .*{re.escape(words)}"):
        installation.python(code)


def cut(folder: Path) -> None:
    file = next(folder.glob("database.*"))
    file.write_bytes(file.read_bytes()[:-100])


def of_another_release(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"0006_installation"', '"0099_far_ahead"'))


def of_other_keys(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(re.sub(r'"[0-9a-f]{16}"', '"0123456789abcdef"', text))


def of_another_database(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(re.sub('"(sqlite|postgresql)"', '"oracle"', text))


def without_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


SPOILT: dict[Callable[[Path], None], str] = {
    cut: "is cut off or was changed",
    of_another_release: "projects.0099_far_ahead",
    of_other_keys: "FIELD_KEYS does not hold the keys",
    of_another_database: "The backup is of oracle",
    without_manifest: "is not a whole backup",
}


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_what_is_no_whole_backup_of_this_release_is_refused_and_changes_nothing(
    backed_up: Installation, empty: Installation, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder = tmp_path / "backup"
    shutil.copytree(backed_up.directory / "backup", folder)
    spoil(folder)

    refused(empty, folder, SPOILT[spoil])

    tables = "information_schema.tables WHERE table_schema = 'public'"
    assert not empty.query(f"SELECT 1 FROM {tables if empty.backend == 'postgresql' else 'sqlite_schema'}")


def test_a_database_that_is_not_empty_stays_as_it_is(backed_up: Installation) -> None:
    before = backed_up.query("SELECT * FROM projects_organization")

    refused(backed_up, backed_up.directory / "backup", "The database is not empty")

    assert backed_up.query("SELECT * FROM projects_organization") == before


def test_a_missing_pg_dump_is_named(backed_up: Installation, tmp_path: Path) -> None:
    if backed_up.backend == "sqlite":
        pytest.skip("SQLite needs no program")
    environment = {**backed_up.environment, "PATH": str(tmp_path)}
    command = [sys.executable, "manage.py", "backup", str(tmp_path / "backup")]

    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert said.returncode == 1
    assert "pg_dump is not on the PATH. Install PostgreSQL's client programs" in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_backup_overwrites_nothing(backed_up: Installation) -> None:
    refused(backed_up, backed_up.directory / "backup", "exists already", command="backup")


# --- the commands of the page


def run_block(name: str, installation: Installation, backups: Path, **more: str) -> str:
    """Run a block of commands of the page, named by its first line, and return what it says."""
    blocks = dict(BLOCK.findall(PAGE.read_text()))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**installation.environment, "PATH": path, "BACKUPS": str(backups), **more}
    done = subprocess.run(
        ["bash", "-euc", blocks[name]], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def names_of_organizations(installation: Installation) -> list[str]:
    return [row["name"] for row in installation.query("SELECT name FROM projects_organization")]


def test_the_commands_of_the_page_back_up_and_restore(backed_up: Installation, tmp_path: Path) -> None:
    run_block("back up", backed_up, tmp_path)
    (tmp_path / "with-keys").symlink_to(backed_up.directory / "backup")
    assert (tmp_path / "today" / "manifest.json").exists()

    with empty_installation(backed_up, tmp_path / "restored") as restored:
        for key in restored.directory.glob("*.key*"):
            key.unlink()
        run_block("restore", restored, tmp_path)

        assert "restored from a backup" in run_block("look", restored, tmp_path)
        assert names_of_organizations(restored) == ["Tested"]


def test_the_commands_of_the_page_copy_with_the_databases_own_programs(backed_up: Installation, tmp_path: Path) -> None:
    if backed_up.backend == "sqlite":
        pytest.skip("for PostgreSQL only")
    with empty_installation(backed_up, tmp_path / "restored") as restored:
        run_block("with pg_dump", restored, tmp_path, OLD_DATABASE_URL=backed_up.database.url)

        assert is_quiet(restored)
        assert names_of_organizations(restored) == ["Tested"]


def test_the_commands_of_the_page_move_an_installation(backed_up: Installation, tmp_path: Path) -> None:
    if backed_up.backend == "postgresql":
        pytest.skip("for SQLite only")
    new = Installation(tmp_path / "new", SqliteDatabase(tmp_path / "new"))
    run_block("move", new, tmp_path, OLD_DATA_DIR=str(backed_up.directory))

    assert not is_quiet(new)
    with closing(sqlite3.connect(tmp_path / "new" / "agentos.sqlite3")) as data:
        assert data.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert names_of_organizations(new) == ["Tested"]

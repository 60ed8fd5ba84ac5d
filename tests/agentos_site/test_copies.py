"""A copy starts quiet: what it is known by, what it leaves alone, and how it goes on."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from executions.states import Status
from harness.automations import LONG_WAIT, Made, call, make
from harness.databases import PostgresqlDatabase, SqliteDatabase
from harness.installation import Installation, copy_of, ended
from harness.processes import until
from tests.support.stub import Stub

QUIET = "keeps quiet and does not begin"
TABLES_OF_WORK = ("executions_execution", "executions_engine", "executions_receipt", "executions_receiptday")


@contextmanager
def empty_installation(like: Installation, directory: Path, **settings: str) -> Iterator[Installation]:
    """Yield an installation with the keys of another one and an empty database."""
    directory.mkdir()
    if isinstance(like.database, PostgresqlDatabase):
        new = like.copy(directory, PostgresqlDatabase(like.database.server), **settings)
    else:
        new = like.copy(directory, SqliteDatabase(directory), **settings)
    with ended(new):
        yield new


def start_quiet(copy: Installation) -> None:
    """Start web server and cluster of an installation whose engine must not begin."""
    copy.start_web()
    copy.cluster = copy.launch("cluster.log", "manage.py", "qcluster")
    until(lambda: copy.cluster and QUIET in copy.cluster.output, within=30, what="the engine waits")


def content(installation: Installation) -> list[list[dict[str, Any]]]:
    return [installation.query(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4") for table in TABLES_OF_WORK]


def test_a_restored_copy_leaves_all_alone_until_it_is_told_to_go_on(
    whole: Installation, tmp_path: Path, stub: Stub
) -> None:
    stub.answer(path="/slow", delay=8)
    made = make(whole, {"call": [call()], "long wait": [LONG_WAIT]})
    running, paused = made.start("call", {"url": stub.url + "/slow"}), made.start("long wait")
    made.wait(paused, Status.PAUSED)
    stub.wait_for(1)
    whole.manage("backup", str(tmp_path / "backup"))
    engines = whole.query("SELECT id, pid FROM executions_engine")

    with empty_installation(whole, tmp_path / "copy") as copy:
        copy.manage("restore", str(tmp_path / "backup"))
        before = content(copy)
        start_quiet(copy)
        theirs = Made(copy, made.organization, made.project, made.automations, made.triggers)

        status, answer = theirs.post("call")
        assert (status, answer["error"]["code"]) == (503, "quiet")
        assert copy.get("/readyz")[0] == 503
        assert b'"quiet"' in copy.get("/readyz")[1]
        listed = copy.manage("restored")
        assert "1 Running, 1 Paused" in listed
        assert "Executions that it would resume: 2" in listed
        assert content(copy) == before
        assert len(stub.requests) == 1

        copy.manage("restored", "--go-on")

        resumed = theirs.wait(running, within=30)
        assert (resumed["status"], resumed["claim"], resumed["deaths"]) == (Status.SUCCESS, 2, 0)
        until(lambda: theirs.post("long wait")[0] == 202, what="requests are taken again")
        assert theirs.status(paused) == Status.PAUSED
        assert "does not keep quiet" in copy.manage("restored")

    assert made.wait(running)["claim"] == 1
    keys = {request.headers["idempotency-key"] for request in stub.requests}
    assert (len(stub.requests), len(keys)) == (2, 1)
    assert whole.query("SELECT id, pid FROM executions_engine") == engines


def is_quiet(installation: Installation) -> bool:
    return "keeps quiet" in installation.manage("restored")


@pytest.fixture
def lived(template: Installation, tmp_path: Path) -> Iterator[Installation]:
    """Return an installation that knows where it is at home; an engine's start would tell it the same."""
    directory = tmp_path / "original"
    directory.mkdir()
    with copy_of(template, directory) as one:
        assert not is_quiet(one)
        yield one


def test_a_file_is_known_for_a_copy_wherever_it_lies_and_for_the_original_too(
    lived: Installation, tmp_path: Path
) -> None:
    if lived.backend == "postgresql":
        pytest.skip("the data is no file")
    path = tmp_path / "original" / "agentos.sqlite3"

    assert not is_quiet(lived), "a restart"
    shutil.copytree(tmp_path / "original", tmp_path / "elsewhere", symlinks=True)
    assert is_quiet(Installation(tmp_path / "elsewhere", SqliteDatabase(tmp_path / "elsewhere")))
    (tmp_path / "original").rename(tmp_path / "moved")
    moved = Installation(tmp_path / "moved", SqliteDatabase(tmp_path / "moved"))
    assert not is_quiet(moved), "mv on the same disk"
    shutil.copytree(tmp_path / "moved", tmp_path / "original", symlinks=True)
    assert path.exists()
    assert is_quiet(lived), "a copy in the place of the original"


def test_a_database_is_known_for_a_copy_and_for_the_original_under_another_name(lived: Installation) -> None:
    if not isinstance(lived.database, PostgresqlDatabase):
        pytest.skip("the data is a file")
    with ExitStack() as stack:
        copy = lived.database.copy(lived.directory)
        stack.callback(copy.drop)
        assert is_quiet(Installation(lived.directory, copy))

        name = f"agentos_{uuid.uuid4().hex}"
        lived.query("SELECT 1")
        lived.database._administer(f"ALTER DATABASE {lived.database.name} RENAME TO {name}")
        lived.database.name, old = name, lived.database.name
        lived.database.url = lived.database.url.replace(old, name)
        assert not is_quiet(lived)


def test_a_new_release_finds_no_home_and_goes_on(lived: Installation) -> None:
    lived.query("DELETE FROM projects_installation")

    assert not is_quiet(lived)


def test_quiet_is_kept_on_request_and_go_on_leaves_engines_that_run_alone(cluster: Installation) -> None:
    cluster.settings["QUIET"] = "1"

    assert is_quiet(cluster)
    with pytest.raises(AssertionError, match="Engines run on this database"):
        cluster.manage("restored", "--reject")
    assert cluster.query("SELECT id FROM executions_engine")

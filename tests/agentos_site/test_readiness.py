"""/readyz says why nothing runs: what keeps an engine from starting is told by the web server, wherever it stands."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from executions.states import Status
from harness.automations import AUTOMATIONS, make
from harness.installation import Installation, copy_of
from harness.processes import until
from tests.support.stub import Stub


@pytest.fixture
def on_sqlite(prepared: Installation, tmp_path: Path) -> Iterator[Installation]:
    """Return an installation with its web server running, where nothing is about the database."""
    with copy_of(prepared, tmp_path) as copy:
        copy.start_web()
        yield copy


def says(installation: Installation, words: str) -> None:
    until(lambda: words in installation.why_not_ready(), within=30, what=f"/readyz says {words}")


def test_a_data_folder_that_cannot_be_written_is_told_until_it_can_be(on_sqlite: Installation) -> None:
    in_the_way = on_sqlite.directory / "engines"
    in_the_way.touch()
    on_sqlite.cluster = on_sqlite.launch("cluster.log", "manage.py", "qcluster")

    says(on_sqlite, "No engine is running. An engine cannot write to DATA_DIR.")
    assert str(on_sqlite.directory) not in on_sqlite.why_not_ready()

    in_the_way.unlink()
    until(lambda: not on_sqlite.why_not_ready(), within=60, what="it is ready")


def test_a_limit_of_open_files_that_is_too_low_is_told(on_sqlite: Installation) -> None:
    on_sqlite.prefix = ["sh", "-c", 'ulimit -n 64 && exec "$@"', "sh"]
    on_sqlite.launch("cluster.log", "manage.py", "qcluster")

    says(on_sqlite, "The cluster may open too few files")


def test_a_migration_that_is_missing_is_told_although_pages_do_without_it(on_sqlite: Installation) -> None:
    on_sqlite.manage("migrate", "automations", "0003", "-v", "0")
    on_sqlite.launch("cluster.log", "manage.py", "qcluster")

    says(on_sqlite, "No engine is running. The database lacks tables of this release: run `manage.py migrate`.")

    on_sqlite.manage("migrate", "-v", "0")
    until(lambda: not on_sqlite.why_not_ready(), within=60, what="it is ready")


# --- a foreign process that holds SQLite's write lock


def test_a_write_lock_that_is_held_for_long_refuses_senders_and_fails_nothing(
    on_sqlite: Installation, stub: Stub
) -> None:
    on_sqlite.start_cluster()
    made = make(on_sqlite, AUTOMATIONS)
    stub.answer(path="/slow", delay=1)
    accepted = [made.start("wait"), made.start("call", {"url": stub.url + "/slow"})]
    refused: list[tuple[int, str]] = []

    def send() -> None:
        request = urllib.request.Request(f"{on_sqlite.url}/automations-api/run/{made.triggers['transform']}", b"{}",
                                         {"Content-Type": "application/json"})  # fmt: skip
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request, timeout=60)
        refused.append((raised.value.code, raised.value.headers["Retry-After"]))

    with on_sqlite.database.away():
        senders = [threading.Thread(target=send) for _ in range(3)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        until(lambda: "trying again" in on_sqlite.logs(), within=60, what="the engine has failed to store a result")
        assert on_sqlite.get("/login/")[0] == 200

    assert refused == [(503, "5")] * 3
    until(lambda: made.post("transform")[0] == 202, within=30, what="requests are accepted again")
    ends = [made.wait(one, within=60) for one in accepted]
    assert [(end["status"], end["attempt"], end["deaths"]) for end in ends] == [(Status.SUCCESS, 1, 0)] * 2
    until(lambda: not on_sqlite.why_not_ready(), within=30, what="it is ready")
    assert made.executions == 3

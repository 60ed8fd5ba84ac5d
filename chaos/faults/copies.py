"""A copy of the installation, restored from a backup and started beside it: it must keep quiet."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from chaos.faults.kinds import Fault
from harness.databases import Database, PostgresqlDatabase, SqliteDatabase
from harness.installation import Installation, ended

if TYPE_CHECKING:
    from chaos.nemesis import Nemesis

LONG_S, SHORTLY_S = 10.0, 4.0  # seconds for which the copy runs: long and short form
STATUSES = "SELECT status, COUNT(*) AS n FROM executions_execution GROUP BY status"
ENGINES = "SELECT id FROM executions_engine"
RULE = "I16 a copy did not keep quiet"


def restore_beside(nemesis: Nemesis) -> None:
    """Back the running installation up, restore it to another database and folder, and start it on the same machine."""
    place = nemesis.place
    with TemporaryDirectory(prefix="copy-", dir=nemesis.scene.directory) as name:
        folder = Path(name)
        backup = folder / "backup"
        place.manage("backup", str(backup))
        data = folder / "data"
        data.mkdir(mode=0o700)
        copy = _copy(nemesis, data)
        with ended(copy):
            copy.manage("restore", str(backup))
            _watch(nemesis, copy)
        shutil.rmtree(backup)


def _copy(nemesis: Nemesis, data: Path) -> Installation:
    server = nemesis.scene.server
    database: Database = PostgresqlDatabase(server.url) if server else SqliteDatabase(data)
    copy = nemesis.place.copy(data, database)
    copy.host, copy.address = nemesis.place.host, nemesis.place.address
    return copy


def _watch(nemesis: Nemesis, copy: Installation) -> None:
    before = _content(copy)
    copy.launch_cluster()
    copy.start_web()
    time.sleep(nemesis.seconds(LONG_S, SHORTLY_S))
    if (after := _content(copy)) != before:
        nemesis.wrong(RULE, f"{before} before, {after} after")
    if (answer := _post(nemesis, copy)) != (503, "quiet"):
        nemesis.wrong(RULE, f"its trigger URL answered {answer}")
    copy.stop()


def _content(copy: Installation) -> tuple[dict[int, int], int]:
    """Return the number of executions by status, and of engines."""
    return dict(Counter({row["status"]: row["n"] for row in copy.query(STATUSES)})), len(copy.query(ENGINES))


def _post(nemesis: Nemesis, copy: Installation) -> tuple[int, str]:
    trigger = nemesis.scene.made.triggers["transform"]
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{copy.url}/automations-api/run/{trigger}", b'{"name": "ada"}', headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, str(json.loads(error.read())["error"]["code"])


FAULTS = {"a copy is restored beside it": Fault(strike=restore_beside)}

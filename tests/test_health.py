from __future__ import annotations

import json

from tests.support.installation import Installation
from tests.support.processes import until
from tests.test_intake import database_away


def test_readyz_says_what_is_missing_until_an_engine_beats(server: Installation) -> None:
    status, body = server.get("/readyz")
    assert (status, "No engine is running" in json.loads(body)["reason"]) == (503, True)

    server.start_cluster()

    until(lambda: server.get("/readyz")[0] == 200, what="ready")
    assert "runs" in server.manage("engines")


def test_healthz_answers_and_readyz_does_not_when_the_database_is_away(server: Installation) -> None:
    if server.backend == "sqlite":
        return  # a locked SQLite file still answers reads
    with database_away(server):
        status, body = server.get("/readyz")
        assert (status, json.loads(body)["reason"]) == (503, "The database does not answer.")
        assert server.get("/healthz")[0] == 200

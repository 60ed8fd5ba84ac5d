"""PostgreSQL as people run it: read-only, out of connections, behind a pooler, as one of several hosts."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from executions.states import Status
from harness.automations import AUTOMATIONS, make
from harness.databases import PostgresqlDatabase
from harness.installation import Installation, copy_of
from harness.pgbouncer import pgbouncer
from harness.postgresql import Missing
from harness.processes import free_port, until
from tests.support.smtp import Smtp


@pytest.fixture
def on_postgresql(prepared_on_postgresql: Installation, tmp_path: Path, _smtp: Smtp) -> Iterator[Installation]:
    """Return an installation of the test's own on PostgreSQL, nothing started."""
    with copy_of(prepared_on_postgresql, tmp_path, EMAIL_URL=_smtp.url) as copy:
        yield copy


def administer(installation: Installation, *statements: str) -> None:
    """Run statements as the server's owner, with `{name}` as the database, and end all its other connections."""
    database = installation.database
    assert isinstance(database, PostgresqlDatabase)
    for statement in statements:
        database._administer(statement.format(name=database.name))
    database._administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'")


def asked(installation: Installation, path: str) -> tuple[int, str, str]:
    """Return status, Retry-After and text of a page."""
    request = urllib.request.Request(
        installation.url + path, headers={"Cookie": f"agentos_session_{installation.port}=something"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, "", answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Retry-After", ""), error.read().decode()


# --- a server that takes no writes, or no connections


def test_a_read_only_database_answers_503_and_what_was_accepted_goes_on(on_postgresql: Installation) -> None:
    on_postgresql.start()
    made = make(on_postgresql, AUTOMATIONS)
    accepted = made.start("wait")

    administer(on_postgresql, "ALTER DATABASE {name} SET default_transaction_read_only = on")
    status, answer = made.post("transform")
    ready, _, reason = asked(on_postgresql, "/readyz")

    assert (status, answer["error"]["code"]) == (503, "unavailable")
    assert answer["error"]["message"].startswith("The database takes no writes. Nothing was stored")
    assert (ready, json.loads(reason)["reason"]) == (503, "The database takes no writes.")
    administer(on_postgresql, "ALTER DATABASE {name} RESET default_transaction_read_only")
    until(lambda: made.post("transform")[0] == 202, what="requests are accepted again")
    assert made.wait(accepted)["status"] == Status.SUCCESS
    assert made.executions == 2


def test_connections_that_are_used_up_answer_503_and_the_log_says_so(on_postgresql: Installation) -> None:
    database = on_postgresql.database
    made = make(on_postgresql, AUTOMATIONS)
    administer(on_postgresql, "DROP ROLE IF EXISTS plain", "CREATE ROLE plain LOGIN")
    on_postgresql.query("GRANT ALL ON ALL TABLES IN SCHEMA public TO plain")
    on_postgresql.query("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO plain")
    owned, database.url = database.url, database.url.replace("agentos@", "plain@")
    web = on_postgresql.start_web()
    database.url = owned
    assert made.post("transform")[0] == 202

    administer(on_postgresql, "ALTER DATABASE {name} CONNECTION LIMIT 0")
    status, answer = made.post("transform")
    page = asked(on_postgresql, "/projects/")

    assert (status, answer["error"]["code"]) == (503, "unavailable")
    assert page[:2] == (503, "5") and "The database is unreachable" in page[2]
    assert "The database is unreachable (" in web.output and "too many connections for database" in web.output
    administer(on_postgresql, "ALTER DATABASE {name} CONNECTION LIMIT -1")
    assert made.post("transform")[0] == 202
    assert made.executions == 2


# --- poolers


@pytest.fixture
def pooled(on_postgresql: Installation, request: pytest.FixtureRequest) -> Iterator[Installation]:
    try:
        with pgbouncer(on_postgresql.database.url, request.param) as url:
            direct, on_postgresql.database.url = on_postgresql.database.url, url
            try:
                yield on_postgresql
            finally:
                on_postgresql.kill()
                on_postgresql.database.url = direct
    except Missing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


@pytest.mark.parametrize("pooled", ["transaction"], indirect=True)
def test_a_pooler_of_transactions_is_refused_in_words(pooled: Installation) -> None:
    cluster = pooled.launch("cluster.log", "manage.py", "qcluster")
    with pytest.raises(AssertionError, match="name the PostgreSQL server itself"):
        pooled.manage("migrate")

    assert cluster.popen.wait(30) == 1
    assert "DATABASE_URL names a pooler that gives each transaction another connection" in cluster.output
    assert "Traceback" not in cluster.output
    pooled.start_web()
    assert "DATABASE_URL names a pooler that gives each transaction" in pooled.why_not_ready()


@pytest.mark.parametrize("pooled", ["transaction"], indirect=True)
def test_a_web_server_behind_such_a_pooler_fails_no_request_and_names_the_cause(pooled: Installation) -> None:
    web = pooled.start_web()
    made = make(pooled, AUTOMATIONS)

    statuses: list[int] = []

    def is_named() -> bool:
        statuses.extend(made.post("transform")[0] for _ in range(10))  # prepares the statements
        administer(pooled)  # the pooler connects anew, without them, or cuts us too while it has not noticed
        statuses.extend(made.post("transform")[0] for _ in range(10))
        return "If DATABASE_URL names a pooler such as PgBouncer" in web.output

    until(is_named, within=60, what="the log names the pooler")
    assert set(statuses) <= {202, 503}
    assert made.executions == statuses.count(202) >= 10


@pytest.mark.parametrize("pooled", ["session"], indirect=True)
def test_a_pooler_of_sessions_serves(pooled: Installation) -> None:
    pooled.start()
    made = make(pooled, AUTOMATIONS)

    for _ in range(5):  # statements are prepared after the third time
        assert made.wait(made.start("transform"))["status"] == Status.SUCCESS


# --- several hosts


def test_of_two_hosts_the_one_that_takes_writes_is_used(on_postgresql: Installation) -> None:
    database = on_postgresql.database
    direct = database.url
    database.url = direct.replace("@", f"@127.0.0.1:{free_port()},") + "?target_session_attrs=read-write"
    on_postgresql.start()
    made = make(on_postgresql, AUTOMATIONS)
    database.url = direct

    assert made.wait(made.start("transform"))["status"] == Status.SUCCESS

"""TLS to PostgreSQL with verification: the right certificate serves, any other is refused in words that say why."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from executions.states import Status
from harness import postgresql
from harness.automations import AUTOMATIONS, make
from harness.databases import PostgresqlDatabase
from harness.installation import Installation, ended
from harness.processes import until
from tests.support.certificates import Authority

NAME = "db.agentos.test"
FILES = {"ssl_cert_file": "server.crt", "ssl_key_file": "server.key"}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("AgentOS tests")


@pytest.fixture(scope="module")
def port(authority: Authority) -> Iterator[int]:
    """Return the port of a server that shows a certificate for NAME."""
    try:
        with postgresql.server(is_durable=False) as server:
            files = [server.data / name for name in FILES.values()]
            authority.certify(NAME, *files)
            for file in files:
                file.chmod(0o600)
                if server.user:
                    shutil.chown(file, server.user)
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET ssl = on")
                connection.execute("SELECT pg_reload_conf()")
            until(lambda: speaks_tls(server.url), what="the server offers TLS")
            yield server.port
    except postgresql.Missing as missing:
        pytest.skip(str(missing))


def speaks_tls(url: str) -> bool:
    try:
        psycopg.connect(f"{url}?sslmode=require").close()
    except psycopg.OperationalError:
        return False
    return True


def url_of(port: int, host: str, authority: Authority, directory: Path) -> str:
    """Return the URL of the server under a name that needs no look-up; only certificates of the authority will do."""
    root = authority.write(directory / "ca.pem")
    return f"postgresql://agentos@{host}:{port}/postgres?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={root}"


def test_a_server_with_the_right_name_and_authority_serves_over_tls_alone(
    prepared: Installation, port: int, authority: Authority, tmp_path: Path
) -> None:
    installation = prepared.copy(tmp_path, PostgresqlDatabase(url_of(port, NAME, authority, tmp_path)))
    with ended(installation):
        installation.manage("migrate", "-v", "0")
        installation.start()
        made = make(installation, AUTOMATIONS)

        assert made.wait(made.start("transform"))["status"] == Status.SUCCESS

        used = installation.query(
            "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = current_database()"
        )
        assert [row["ssl"] for row in used] == [True]


@pytest.mark.parametrize("wrong", ["name", "authority"])
def test_a_server_of_another_name_or_authority_is_refused_in_words(
    prepared: Installation, port: int, authority: Authority, tmp_path: Path, wrong: str
) -> None:
    host, known, sentence = {
        "name": ("other.agentos.test", authority, "is for another name than the one in DATABASE_URL"),
        "authority": (NAME, Authority("Somebody else"), "is not valid for the authority in sslrootcert"),
    }[wrong]
    database = PostgresqlDatabase(f"postgresql://agentos@127.0.0.1:{port}/postgres")
    database.url = url_of(port, host, known, tmp_path)
    installation = prepared.copy(tmp_path, database)
    with ended(installation):
        service = installation.launch("service.log", "-m", "agentos_site")
        until(lambda: f"{sentence} (" in service.output, within=30, what="the cluster says so")
        until(lambda: sentence in installation.why_not_ready(), within=30, what="/readyz says so")

        with pytest.raises(AssertionError, match=sentence) as refused:
            installation.manage("migrate")

        assert "Traceback" not in str(refused.value)
        assert "Traceback" not in service.output
        assert service.terminate() == 128 + 15

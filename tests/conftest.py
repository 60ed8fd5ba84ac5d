from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.signals import post_migrate
from django.utils import timezone

from automations.models import Automation
from executions.models import Execution
from executions.states import Lane
from harness import factory, postgresql
from harness.databases import PostgresqlDatabase, SqliteDatabase
from harness.installation import Installation, copy_of, ended
from projects.models import Membership, Organization, Project
from tests.support import distribution
from tests.support.smtp import Smtp
from tests.support.stub import Stub

# --- which tests belong to which part of `make test`


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in item.path.relative_to(item.config.rootpath).parts:
            item.add_marker("browser")
        elif "prepared" in getattr(item, "fixturenames", ()):  # and so each that has an installation
            item.add_marker("cluster")
    distribution.long_ones_first(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return distribution.schedule(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Installation):
                report.sections.append(("logs of the installation", value.logs()))
    return report


A_MOMENT = timedelta(minutes=1)  # PostgreSQL's clock stands still since the test's transaction began

# --- the cast of the tests that need no process: one organization, one project, one builder, one automation

STEPS: list[dict[str, Any]] = [
    {
        "key": "fetch",
        "title": "Fetch",
        "connector": "http",
        "action": "request",
        "input": {"method": "GET", "url": "https://example.com/"},
    }
]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Let the test database of PostgreSQL be dropped although threads of the product still hold connections."""
    # After a test that commits, all tables are emptied; filling in these again would take most of that time.
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    yield
    connection.close()


@pytest.fixture
def organization(db: None) -> Organization:
    return Organization.objects.create(name="Acme")


@pytest.fixture
def builder(organization: Organization) -> User:
    """Return the owner of the organization."""
    user = User.objects.create_user("builder", "builder@example.com", "builder")
    Membership.objects.create(organization=organization, user=user, role=Membership.Role.OWNER)
    return user


@pytest.fixture
def stranger(db: None) -> User:
    """Return the owner of another organization, with a project there."""
    other = Organization.objects.create(name="Other")
    user = User.objects.create_user("stranger", "stranger@example.com", "stranger")
    Membership.objects.create(organization=other, user=user, role=Membership.Role.OWNER)
    Project.objects.create(organization=other, name="Elsewhere")
    return user


@pytest.fixture
def project(organization: Organization) -> Project:
    return Project.objects.create(organization=organization, name="Website")


@pytest.fixture
def make_automation(project: Project) -> Callable[..., Automation]:
    """Return a function that makes an active automation with a trigger; all that the factory takes may be given."""

    def make(name: str = "Orders", *, steps: list[dict[str, Any]] | None = None, **fields: Any) -> Automation:
        return factory.make_automation(
            fields.pop("project", project), name, STEPS if steps is None else steps, **fields
        )

    return make


@pytest.fixture
def automation(make_automation: Callable[..., Automation]) -> Automation:
    return make_automation()


@pytest.fixture
def make_execution(automation: Automation) -> Callable[..., Execution]:
    """Return a function that stores an execution, of `automation` unless told, in any state."""

    def make(**fields: Any) -> Execution:
        of = fields.pop("automation", automation)
        values = {
            "organization_id": of.organization_id,
            "project_id": of.project_id,
            "automation": of,
            "version": of.live_version,
            "trigger": of.trigger,
            "run_at": timezone.now() - A_MOMENT,
        }
        values |= fields
        values.setdefault("is_due", values.get("lane") != Lane.THROTTLED and values["run_at"] <= timezone.now())
        return Execution.objects.create(**values)

    return make


# --- the outside world


@pytest.fixture(scope="session")
def _stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.close()


@pytest.fixture
def stub(_stub: Stub) -> Stub:
    """Return a service on loopback that remembers every request."""
    _stub.clear()
    return _stub


@pytest.fixture(scope="session")
def _smtp() -> Iterator[Smtp]:
    smtp = Smtp()
    yield smtp
    smtp.close()


@pytest.fixture
def smtp(_smtp: Smtp) -> Smtp:
    """Return the mail server of every installation under test."""
    _smtp.clear()
    return _smtp


# --- real installations, each test on both databases


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    with ExitStack() as stack:
        url = os.environ.get("TEST_POSTGRESQL_URL")
        if not url:
            try:
                url = stack.enter_context(postgresql.postgresql(is_durable=False))
            except postgresql.Missing as missing:
                pytest.skip(str(missing))
        yield url


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Return an installation with keys, static files and an SQLite database, made by the worker that comes first."""
    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "prepared"
    directory.mkdir(exist_ok=True)
    installation = Installation(directory, SqliteDatabase(directory), WORKERS="1")
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "is_prepared").exists():
            installation.prepare()
            (directory / "is_prepared").touch()
    return installation


@pytest.fixture(scope="session")
def prepared_on_postgresql(
    prepared: Installation, postgresql_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    database = PostgresqlDatabase(postgresql_server)
    installation = prepared.copy(tmp_path_factory.mktemp("template"), database)
    installation.manage("migrate", "-v", "0")
    yield installation
    database.drop()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def template(request: pytest.FixtureRequest, prepared: Installation) -> Installation:
    """Return what every installation is a copy of: migrations run once a session and database."""
    found = prepared if request.param == "sqlite" else request.getfixturevalue("prepared_on_postgresql")
    assert isinstance(found, Installation)
    return found


@pytest.fixture
def installation(template: Installation, tmp_path: Path, _smtp: Smtp) -> Iterator[Installation]:
    """Return an installation of the test's own, nothing started."""
    with copy_of(template, tmp_path, EMAIL_URL=_smtp.url) as copy:
        yield copy


@pytest.fixture
def server(installation: Installation) -> Installation:
    """Return the test's own installation with its web server running."""
    installation.start_web()
    return installation


@pytest.fixture
def cluster(installation: Installation) -> Installation:
    """Return the test's own installation with its cluster running."""
    installation.start_cluster()
    return installation


@pytest.fixture
def whole(installation: Installation) -> Installation:
    """Return the test's own installation with web server and cluster running."""
    installation.start()
    return installation


@contextmanager
def shared(template: Installation, directory: Path, smtp: Smtp) -> Iterator[Installation]:
    copy = template.copy(directory, template.database.copy(directory), EMAIL_URL=smtp.url)
    with ended(copy, is_shared=True):
        copy.start()
        yield copy


@pytest.fixture(scope="session")
def product_on_sqlite(
    prepared: Installation, tmp_path_factory: pytest.TempPathFactory, _smtp: Smtp
) -> Iterator[Installation]:
    with shared(prepared, tmp_path_factory.mktemp("product"), _smtp) as product:
        yield product


@pytest.fixture(scope="session")
def product_on_postgresql(
    prepared_on_postgresql: Installation, tmp_path_factory: pytest.TempPathFactory, _smtp: Smtp
) -> Iterator[Installation]:
    with shared(prepared_on_postgresql, tmp_path_factory.mktemp("product"), _smtp) as product:
        yield product


@pytest.fixture(scope="session")
def shared_product(template: Installation, request: pytest.FixtureRequest) -> Installation:
    """Return an installation with web server and cluster that all tests of the session share."""
    found = request.getfixturevalue(f"product_on_{template.backend}")
    assert isinstance(found, Installation)
    return found


@pytest.fixture
def product(shared_product: Installation) -> Iterator[Installation]:
    """Return the installation that all tests share: leave it healthy, and leave no process of yours behind."""
    yield shared_product
    shared_product.check_leftovers()

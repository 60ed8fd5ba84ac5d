"""What the engine's database thread does with what cannot be stored, and when its connection dies meanwhile."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import psycopg
import pytest
from django.db import connection

from executions.engine.database_thread import DatabaseThread
from executions.models import Engine, Execution, StepRun
from executions.states import Lane, Status, StepStatus
from executions.store.rows import Claimed, Move, StepRecord, Wanted
from harness.processes import until
from projects.ids import new_id
from tests.support.cut import cut_at_commit, end_connections

LOCK = 8080  # an advisory lock
NOT_UTF_8 = "half of \ud83d"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def thread() -> Iterator[DatabaseThread]:
    thread = DatabaseThread(new_id(), 0, lambda *_: None, lambda _: None)
    thread.start()
    yield thread
    thread.stop()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def make_running(make_execution: Callable[..., Execution], thread: DatabaseThread) -> Callable[[], Claimed]:
    """Return a function that stores an execution which the thread's engine runs."""

    def make() -> Claimed:
        row = make_execution(status=Status.RUNNING, engine_id=thread.engine_id, claim=1)
        claimed = Claimed(
            id=row.id, organization_id=row.organization_id, project_id=row.project_id,
            automation_id=row.automation_id, version_id=row.version_id, lane=Lane.DIRECT, attempt=1, claim=1, deaths=0,
            suspicion=0, time_limit_s=300, ran_ms=0, is_counted=False,
        )  # fmt: skip
        thread.owned[row.id] = claimed
        return claimed

    return make


def end(of: Claimed, reason: str = "") -> Move:
    return Move(execution=of, target=Status.SUCCESS, reason_code="skipped_failures" if reason else "", reason=reason)


def step_run(of: Claimed, error: str = "") -> StepRecord:
    return StepRecord(
        execution=of, key="step", iteration="", position=1, status=StepStatus.FAILED, connector="http",
        action="request", title="Step", tries=1, started_at=datetime.now(UTC), finished_at=None, input="{}",
        output=None, error_code="odd", error=error, is_external=False, is_reply=False, resume_at=None,
    )  # fmt: skip


def ended(ids: list[uuid.UUID]) -> dict[uuid.UUID, tuple[int, str]]:
    until(
        lambda: not Execution.objects.filter(pk__in=ids, status=Status.RUNNING).exists(), within=10, what="their ends"
    )
    return {row.pk: (row.status, row.reason_code) for row in Execution.objects.filter(pk__in=ids)}


def test_an_end_that_cannot_be_stored_fails_its_execution_alone(
    thread: DatabaseThread, make_running: Callable[[], Claimed]
) -> None:
    good, bad = make_running(), make_running()

    thread.move([end(bad, NOT_UTF_8), end(good)])

    assert ended([good.id, bad.id]) == {
        good.id: (Status.SUCCESS, ""),
        bad.id: (Status.FAILED, "not_storable"),
    }


def test_a_step_run_that_cannot_be_stored_fails_its_execution_alone(
    thread: DatabaseThread, make_running: Callable[[], Claimed]
) -> None:
    good, bad = make_running(), make_running()
    told: dict[uuid.UUID, bool] = {}

    with thread._has_work:  # both in one batch
        thread.gathered.records += [(step_run(bad, NOT_UTF_8),), (step_run(good),)]
        thread.gathered.waiting += [
            lambda is_ours, of=of: told.update({of.id: is_ours})  # type: ignore[misc]
            for of in (bad, good)
        ]
        thread._has_work.notify()

    until(lambda: len(told) == 2, within=10, what="word of both")
    assert told == {bad.id: False, good.id: True}
    assert ended([bad.id]) == {bad.id: (Status.FAILED, "not_storable")}
    assert StepRun.objects.get(execution_id=good.id).status == StepStatus.FAILED


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connection to lose")
def test_a_connection_that_dies_while_ends_are_stored_one_by_one_is_replaced(
    thread: DatabaseThread, make_running: Callable[[], Claimed]
) -> None:
    many = [make_running() for _ in range(100)]

    thread.move([end(one, NOT_UTF_8 if one is many[0] else "") for one in many])
    for _ in range(20):
        end_connections()
        connection.close()

    statuses = [status for status, _ in ended([one.id for one in many]).values()]
    assert statuses.count(Status.FAILED) == 1
    assert statuses.count(Status.SUCCESS) == 99


def test_what_is_called_goes_on_after_something_could_not_be_stored(
    thread: DatabaseThread, make_running: Callable[[], Claimed]
) -> None:
    called = threading.Event()

    thread.move([end(make_running(), NOT_UTF_8)])
    thread.call(called.set)

    assert called.wait(10)


@contextmanager
def locked_by_somebody(execution_id: uuid.UUID) -> Iterator[None]:
    parameters = connection.get_connection_params()
    with psycopg.connect(**{key: parameters[key] for key in ("dbname", "user", "host", "port")}) as somebody:
        somebody.execute("SELECT 1 FROM executions_execution WHERE id = %s FOR UPDATE", [execution_id])
        yield


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one lock, that of the file")
def test_only_the_result_of_the_execution_whose_row_is_locked_waits(
    thread: DatabaseThread, make_running: Callable[[], Claimed]
) -> None:
    locked, *others = [make_running() for _ in range(5)]
    with locked_by_somebody(locked.id):
        thread.move([end(one) for one in (locked, *others)])
        until(lambda: statuses(others) == {Status.SUCCESS}, what="the others have ended")
        assert statuses([locked]) == {Status.RUNNING}

        late = make_running()
        thread.move([end(late)])
        until(lambda: statuses([late]) == {Status.SUCCESS}, within=4, what="nobody waits for the lock once more")

    until(lambda: statuses([locked]) == {Status.SUCCESS}, what="it ends once the lock is gone")


@contextmanager
def commits_that_wait() -> Iterator[Callable[[], set[int]]]:
    """Have each commit that changes an execution wait until the block ends; the function returns whose sessions do."""
    parameters = connection.get_connection_params()
    with psycopg.connect(
        **{key: parameters[key] for key in ("dbname", "user", "host", "port")}, autocommit=True
    ) as own:
        own.execute(
            "CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql"
            f" AS $$ BEGIN PERFORM pg_advisory_xact_lock({LOCK}); RETURN NULL; END $$"
        )
        own.execute(
            "CREATE CONSTRAINT TRIGGER wait_at_commit AFTER UPDATE ON executions_execution"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit()"
        )
        own.execute(f"SELECT pg_advisory_lock({LOCK})")
        try:
            yield lambda: {
                row[0] for row in own.execute(f"SELECT pid FROM pg_locks WHERE objid = {LOCK} AND NOT granted")
            }
        finally:
            own.execute(f"SELECT pg_advisory_unlock({LOCK})")
            own.execute("DROP FUNCTION wait_at_commit CASCADE")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connection to lose")
def test_what_was_claimed_by_a_commit_whose_connection_was_cut_is_run(make_execution: Callable[..., Execution]) -> None:
    due = make_execution()
    claims: list[list[uuid.UUID]] = []
    thread = DatabaseThread(
        new_id(), 0, lambda works, _: claims.append([work.execution.id for work in works]), lambda _: None
    )
    Engine.objects.create(id=thread.engine_id, host="here", pid=1, boot_id="")
    with commits_that_wait() as waiting, cut_at_commit(behind=b"UPDATE executions_execution") as way:
        thread.start()
        thread.claim(Wanted(limit=10))
        first = until(waiting, what="the claim is about to be committed")
        way.cut()
        until(lambda: claims or waiting() - first, what="the engine has tried again")

    until(lambda: claims, what="the answer to the claim")
    assert claims == [[due.id]]
    thread.stop()
    thread.join(10)


def statuses(of: list[Claimed]) -> set[int]:
    return set(Execution.objects.filter(pk__in=[one.id for one in of]).values_list("status", flat=True))


def waits(event: threading.Event) -> None:
    event.wait(20)


def test_it_is_known_since_when_one_try_lasts(thread: DatabaseThread) -> None:
    go_on = threading.Event()
    thread.call(partial(waits, go_on))
    until(lambda: thread.busy_since is not None)
    first = thread.busy_since

    thread.call(lambda: None)  # waits behind it, and is not begun
    assert thread.busy_since == first
    go_on.set()

    until(lambda: thread.busy_since is None)

"""Accepting a request: checks against what is live, one commit shared by all that arrive meanwhile, then an answer."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date
from functools import cache

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction

from automations.definition import Definition
from automations.models import Trigger
from connectors.call import JSON
from executions import encoding
from executions.states import Lane
from executions.store import store
from executions.store.rows import NewExecution, ReplyRow
from executions.wake import wake_for_replies
from projects import secrets
from projects.ids import made_at, new_id

logger = logging.getLogger(__name__)

BATCH = 200
LONGEST_WAIT_S = 10.0  # for a commit, before the sender is told to come again


class Unavailable(Exception):
    """The database did not take the request: nothing is stored, the sender should come again."""


class Stale(Exception):
    """What the request was checked against is no longer live: look again."""


class LimitReached(Exception):
    """The organization's hard limit of this month is used up."""


@dataclass(frozen=True, slots=True)
class LiveTrigger:
    """What a request at a trigger URL is checked against, as of `live_rev`."""

    uid: str
    automation_id: uuid.UUID
    project_id: uuid.UUID
    organization_id: uuid.UUID
    live_rev: int
    is_active: bool
    time_limit_s: int
    secret: str
    version_id: uuid.UUID | None
    definition: Definition | None

    @property
    def lane(self) -> Lane:
        return Lane.SYNC if self.definition and self.definition.replies else Lane.DIRECT


_triggers: dict[str, LiveTrigger] = {}


def find_trigger(uid: str, *, is_fresh: bool = True) -> LiveTrigger | None:
    """Return what is live at a trigger URL, or None when there is nothing.

    Not fresh, it may be as old as the last look: accepting notices by `live_rev`, in the transaction that stores;
    any other answer must be given by a fresh one.
    """
    if not is_fresh and uid in _triggers:
        return _triggers[uid]
    live = _read_trigger(uid)
    if live is None:
        _triggers.pop(uid, None)
    else:
        _triggers[uid] = live
    return live


def _read_trigger(uid: str) -> LiveTrigger | None:
    trigger = (
        Trigger.objects.select_related("automation__live_version", "automation__project")
        .filter(uid=uid, replaced_at=None, automation__deleted_at=None, automation__project__deleted_at=None)
        .first()
    )
    if trigger is None:
        return None
    automation = trigger.automation
    version = automation.live_version
    return LiveTrigger(
        uid=uid,
        automation_id=automation.uid,
        project_id=automation.project_id,
        organization_id=automation.organization_id,
        live_rev=automation.live_rev,
        is_active=automation.is_active,
        time_limit_s=automation.time_limit_s,
        secret=secrets.decrypt(trigger.encrypted_secret) if trigger.encrypted_secret else "",
        version_id=version.uid if version else None,
        definition=Definition.model_validate(version.definition) if version else None,
    )


def new_execution(live: LiveTrigger, payload: JSON) -> NewExecution:
    assert live.version_id is not None and live.definition is not None
    trigger = live.definition.trigger
    return NewExecution(
        id=new_id(),
        organization_id=live.organization_id,
        project_id=live.project_id,
        automation_id=live.automation_id,
        version_id=live.version_id,
        trigger_uid=live.uid,
        lane=live.lane,
        time_limit_s=live.time_limit_s,
        connector=trigger.connector,
        event=trigger.event,
        title="Trigger",
        payload=encoding.dumps(payload),
    )


@dataclass(slots=True)
class _Slot:
    execution: NewExecution
    live_rev: int
    future: Future[uuid.UUID]


class GroupCommit:
    """Stores accepted requests from one thread: those that arrive during a commit share the next one."""

    def __init__(self) -> None:
        self._slots: list[_Slot] = []
        self._has_slots = threading.Condition()
        threading.Thread(target=self._run, name="intake", daemon=True).start()

    def submit(self, execution: NewExecution, live_rev: int) -> uuid.UUID:
        """Return the execution's id once it is durable; raise Stale, LimitReached or Unavailable."""
        slot = _Slot(execution, live_rev, Future())
        with self._has_slots:
            self._slots.append(slot)
            self._has_slots.notify()
        try:
            return slot.future.result(LONGEST_WAIT_S)
        except TimeoutError:
            if slot.future.cancel():
                raise Unavailable from None
        return slot.future.result()  # its commit is under way: only the outcome may be told

    def _run(self) -> None:
        while True:
            with self._has_slots:
                while not self._slots:
                    self._has_slots.wait()
                batch, self._slots = self._slots[:BATCH], self._slots[BATCH:]
            self._settle([slot for slot in batch if slot.future.set_running_or_notify_cancel()])

    def _settle(self, batch: list[_Slot]) -> None:
        """Store a batch; when it cannot be, one by one, so that one bad row does not fail its neighbours."""
        try:
            refused = self._store(batch)
        except (OperationalError, InterfaceError) as error:
            logger.warning("nothing can be accepted: %s", error)
            _close_connection()
            refused = {slot.execution.id: Unavailable() for slot in batch}
        except Exception as error:
            if len(batch) > 1:
                for slot in batch:
                    self._settle([slot])
                return
            logger.exception("a request cannot be stored")
            refused = {batch[0].execution.id: error}
        for slot in batch:
            why = refused.get(slot.execution.id)
            if why is None:
                slot.future.set_result(slot.execution.id)
            else:
                slot.future.set_exception(why)

    def _store(self, batch: list[_Slot]) -> dict[uuid.UUID, Exception]:
        refused: dict[uuid.UUID, Exception] = {}
        with transaction.atomic():
            revs = _live_revs({slot.execution.automation_id for slot in batch})
            for slot in batch:
                if revs.get(slot.execution.automation_id) != slot.live_rev:
                    refused[slot.execution.id] = Stale()
            current = [slot.execution for slot in batch if slot.execution.id not in refused]
            refused |= {execution.id: LimitReached() for execution in _over_limit(current)}
            accepted = [execution for execution in current if execution.id not in refused]
            if accepted:
                store().insert_executions(accepted)
        return refused


def _live_revs(automation_ids: set[uuid.UUID]) -> dict[uuid.UUID, int]:
    where, parameters = store().among("uid", automation_ids)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT uid, live_rev FROM automations_automation WHERE {where}", parameters)
        return {store().to_uuid(uid): rev for uid, rev in cursor.fetchall()}


def _over_limit(executions: list[NewExecution]) -> list[NewExecution]:
    """Reserve the month's executions, organization by organization in one order; return those without a place."""
    wanted: Counter[tuple[uuid.UUID, date]] = Counter(_meter(execution) for execution in executions)
    left = {key: store().reserve(*key, amount) for key, amount in sorted(wanted.items())}
    over = []
    for execution in executions:
        key = _meter(execution)
        if left[key] <= 0:
            over.append(execution)
        left[key] -= 1
    return over


def _meter(execution: NewExecution) -> tuple[uuid.UUID, date]:
    return execution.organization_id, made_at(execution.id).date().replace(day=1)


def _close_connection() -> None:
    try:
        connection.close()
    except Exception:
        connection.connection = None


class Callers:
    """Those who wait for a Response step, woken by commits."""

    def __init__(self) -> None:
        self._waiting: dict[uuid.UUID, Future[ReplyRow]] = {}
        self._mutex = threading.Lock()
        wake_for_replies(self._look).start()

    def wait(self, execution_id: uuid.UUID, accept: Callable[[], uuid.UUID], limit_s: float) -> ReplyRow | None:
        """Accept the request and return its reply, or None when the limit passes first."""
        future: Future[ReplyRow] = Future()
        with self._mutex:
            self._waiting[execution_id] = future
        try:
            deadline = time.monotonic() + limit_s
            accept()
            return future.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return None
        finally:
            with self._mutex:
                self._waiting.pop(execution_id, None)

    def _look(self) -> None:
        """In the wake-up's thread: read what has come for those who wait."""
        with self._mutex:
            waiting = dict(self._waiting)
        if not waiting:
            return
        for execution_id, reply in store().replies(waiting).items():
            if not waiting[execution_id].done():
                waiting[execution_id].set_result(reply)


@cache
def group_commit() -> GroupCommit:
    return GroupCommit()


@cache
def callers() -> Callers:
    return Callers()


def accept(live: LiveTrigger, payload: JSON) -> uuid.UUID:
    """Store an execution and return its id once it is durable."""
    return group_commit().submit(new_execution(live, payload), live.live_rev)


def accept_and_wait(live: LiveTrigger, payload: JSON) -> tuple[uuid.UUID, ReplyRow | None]:
    """Store an execution and return its id with the reply of its Response step, or None past REPLY_LIMIT_S."""
    execution = new_execution(live, payload)
    reply = callers().wait(
        execution.id, lambda: group_commit().submit(execution, live.live_rev), settings.REPLY_LIMIT_S
    )
    return execution.id, reply

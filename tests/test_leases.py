"""Whose an engine's executions are while it may be dead, and when it is taken for dead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from executions.models import Execution
from executions.states import Status
from executions.store import store
from projects.ids import new_id

DEAD, OTHER, OURS = new_id(), new_id(), new_id()

# What a stale engine that lives after all, or the one that claims next, may have made of an execution meanwhile.
MEANWHILE: dict[str, dict[str, Any]] = {
    "paused": {"status": Status.PAUSED, "engine_id": None},
    "ended": {"status": Status.SUCCESS, "engine_id": None},
    "claimed by another engine": {"status": Status.RUNNING, "engine_id": OTHER},
}


@pytest.mark.django_db
@pytest.mark.parametrize("fields", MEANWHILE.values(), ids=MEANWHILE)
def test_what_a_dead_engine_holds_no_longer_is_neither_accused_nor_taken_over(
    make_execution: Callable[..., Execution], fields: dict[str, Any]
) -> None:
    execution = make_execution(**fields)
    before = Execution.objects.values().get()

    with store().transaction():
        store().accuse(execution.id, DEAD, counts=True)
        taken = store().take_over(execution.id, DEAD, OURS)

    assert taken == []
    assert Execution.objects.values().get() == before


@pytest.mark.django_db
def test_what_a_dead_engine_holds_is_accused_and_taken_over(make_execution: Callable[..., Execution]) -> None:
    execution = make_execution(status=Status.RUNNING, engine_id=DEAD)

    with store().transaction():
        store().accuse(execution.id, DEAD, counts=True)
        taken = store().take_over(execution.id, DEAD, OURS)

    assert len(taken) == 1
    execution.refresh_from_db()
    assert (execution.suspicion, execution.deaths, execution.engine_id) == (2, 1, OURS)

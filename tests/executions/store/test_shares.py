"""How a claim is divided, and in which order what it brings begins."""

from __future__ import annotations

import uuid

import pytest

from automations.definition import Definition
from executions.engine.line import Line
from executions.engine.work import Work
from executions.runner.context import Variables
from executions.states import Lane
from executions.store.rows import Claimed
from executions.store.shares import NO_BOUND, divide
from projects.ids import new_id

DIVISIONS = {
    "one alone gets all": ("a", {}, 10, NO_BOUND, {"a": 10}),
    "one alone up to what it may have": ("a", {"a": 7}, 10, 9, {"a": 2}),
    "one alone that has it": ("a", {"a": 9}, 10, 9, {}),
    "nobody waits": ("", {}, 10, NO_BOUND, {}),
    "equal parts": ("abc", {}, 9, NO_BOUND, {"a": 3, "b": 3, "c": 3}),
    "the rest in order": ("abc", {}, 4, NO_BOUND, {"a": 2, "b": 1, "c": 1}),
    "fewer starts than organizations": ("abc", {}, 2, NO_BOUND, {"a": 1, "b": 1}),
    "those with fewer slots catch up": ("abc", {"a": 5, "b": 1}, 6, NO_BOUND, {"b": 3, "c": 3}),
    "and then all go on": ("ab", {"a": 2}, 6, NO_BOUND, {"a": 2, "b": 4}),
    "nobody beyond what each may have": ("abc", {"a": 5}, 100, 3, {"b": 3, "c": 3}),
    "holders that do not wait count for nothing": ("ab", {"x": 50}, 2, NO_BOUND, {"a": 1, "b": 1}),
}


@pytest.mark.parametrize(("waiting", "held", "limit", "most", "quotas"), DIVISIONS.values(), ids=DIVISIONS)
def test_a_claim_goes_to_those_that_hold_fewest(
    waiting: str, held: dict[str, int], limit: int, most: int, quotas: dict[str, int]
) -> None:
    assert divide(list(waiting), held, limit, most) == quotas


def work(organization_id: uuid.UUID, lane: Lane = Lane.DIRECT) -> Work:
    execution = Claimed(
        id=new_id(), organization_id=organization_id, project_id=organization_id, automation_id=organization_id,
        version_id=organization_id, lane=lane, attempt=1, claim=1, deaths=0, suspicion=0, time_limit_s=300, ran_ms=0,
        is_counted=False,
    )  # fmt: skip
    return Work(execution, Definition(), Variables())


def test_organizations_begin_in_turn_and_callers_first() -> None:
    a, b, c = (uuid.UUID(int=number) for number in (1, 2, 3))
    of_a = [work(a) for _ in range(4)]
    line = Line(of_a)
    first = line.pop()
    of_b, waited_for, of_c = work(b), work(a, Lane.SYNC), work(c)

    line.add([of_b, waited_for, of_c])

    assert first is of_a[0]
    assert len(line) == 6
    assert [line.pop() for _ in range(6)] == [waited_for, of_b, of_c, *of_a[1:]]
    assert not line

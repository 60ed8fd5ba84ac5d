"""The throttled lane: strict and first come first served over all clusters, and changed while it is in use."""

from __future__ import annotations

import uuid
from datetime import datetime
from itertools import pairwise

import pytest

from executions.states import Lane, Status
from harness.automations import TRANSFORM, Made, make
from harness.installation import Installation
from harness.processes import until


@pytest.fixture
def made(product: Installation) -> Made:
    """Return the automations of an organization of the test's own."""
    made = make(product, {"throttled": [TRANSFORM], "direct": [TRANSFORM]})
    made.change("throttled", "is_throttled", True)
    return made


def started(made: Made, ids: list[uuid.UUID]) -> list[datetime]:
    """Return when each of the executions started, in the order of acceptance."""
    starts = []
    for id in ids:
        at = made.wait(id, within=30)["started_at"]
        starts.append(datetime.fromisoformat(at) if isinstance(at, str) else at)
    return starts


def test_starts_keep_the_rate_and_their_order_over_two_clusters(made: Made) -> None:
    made.set_organization("throttle_rate", 5)
    second = made.installation.start_another_cluster()
    try:
        ids = [made.start("throttled") for _ in range(14)]
        starts = started(made, ids)
    finally:
        second.end()

    assert all(one <= two for one, two in pairwise(starts))
    for early, late in zip(starts, starts[6:], strict=False):
        assert (late - early).total_seconds() > 1.0, "more than 6 starts within a second"


def test_a_changed_rate_acts_at_once(made: Made) -> None:
    made.set_organization("throttle_rate", 0.1)
    ids = [made.start("throttled") for _ in range(4)]
    made.wait(ids[0])
    assert [made.status(id) for id in ids[1:]] == [Status.PENDING] * 3

    made.set_organization("throttle_rate", 10)

    assert [made.wait(id, within=5)["status"] for id in ids] == [Status.SUCCESS] * 4


def test_others_do_not_wait_behind_the_throttled_ones(made: Made) -> None:
    made.set_organization("throttle_rate", 0.1)
    throttled = [made.start("throttled") for _ in range(3)]

    assert made.wait(made.start("direct"))["status"] == Status.SUCCESS
    assert made.status(throttled[-1]) is Status.PENDING


def test_those_who_wait_join_the_direct_lane_when_throttling_is_switched_off(made: Made) -> None:
    made.set_organization("throttle_rate", 0.1)
    ids = [made.start("throttled") for _ in range(5)]
    until(lambda: made.read(ids[1])["lane"] == Lane.THROTTLED)

    made.change("throttled", "is_throttled", False)

    assert [made.wait(id, within=10)["status"] for id in ids] == [Status.SUCCESS] * 5

"""The wait for a step's next try: it doubles, has a cap, and differs between executions."""

from __future__ import annotations

import pytest

from executions.runner.backoff import wait_s

SEEDS = [f"execution-{number}" for number in range(1000)]


@pytest.mark.parametrize(("tries", "least", "most"), [(1, 2.5, 5), (2, 5, 10), (4, 20, 40), (10, 1280, 2560)])
def test_the_wait_doubles_with_each_try(tries: int, least: float, most: float) -> None:
    assert all(least <= wait_s(5, tries, 0, seed) <= most for seed in SEEDS)


@pytest.mark.parametrize(("first", "tries"), [(3600, 1), (3600, 10), (5, 11), (0.1, 1000)])
def test_no_wait_is_longer_than_an_hour(first: float, tries: int) -> None:
    assert all(1800 <= wait_s(first, tries, 0, seed) <= 3600 for seed in SEEDS)


def test_a_thousand_failures_of_one_instant_do_not_try_again_at_one_instant() -> None:
    for asked in (0, 60):
        tenths = {int(10 * wait_s(20, 1, asked, seed)) for seed in SEEDS}
        assert len(tenths) > 90, asked


def test_a_wait_that_was_asked_for_is_kept() -> None:
    assert all(120 <= wait_s(5, 1, 120, seed) <= 150 for seed in SEEDS)


def test_one_execution_waits_the_same_however_often_it_asks() -> None:
    assert wait_s(5, 3, 0, "a") == wait_s(5, 3, 0, "a") != wait_s(5, 3, 0, "b")

"""Compute children: exact values, limits that end the culprit alone, turns between organizations."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from pathlib import Path

import pytest

from connectors.compute.pool import Pool
from connectors.compute.shared import Compute
from connectors.sdk.call import JSON, StepError
from connectors.sdk.conditions import Group
from connectors.sdk.language import ENVIRONMENT
from connectors.sdk.mapping import MappingError, render
from tests.connectors.compute.test_ways import scope, text_for

SLOW = "{% for i in (1..9999) %}" + "{% if i == 0 %}{% endif %}" * 300 + "{% endfor %}"


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    one = Pool(seconds=2)
    yield one
    one.close()


@pytest.fixture
def compute(pool: Pool) -> Compute:
    return Compute(pool, "tests")


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize(
    "value",
    [
        2**70, -(10**300), 0.1, 1e22, 5e-324, 1.0, "a\r\nb\rc\n", "\u2028é𝄞\x01", {"b": 1, "a": {"d": None, "c": True}},
        [], {}, "", [1, 1.0, "1", False], {"": {"  ": []}}, "{{ x }}",
    ],
)  # fmt: skip
def test_values_come_back_as_they_were(pool: Pool, value: JSON) -> None:
    found = pool.submit("tests", "render", {"value": "{{ v }}"}, {"v": value}).result()

    assert found == {"value": value}
    assert repr(found) == repr({"value": value})


@pytest.mark.parametrize("name", ENVIRONMENT.filters)
def test_filter_gives_the_same_in_a_child(pool: Pool, name: str) -> None:
    def outcome(work: Callable[[], JSON]) -> JSON:
        try:
            return work()
        except MappingError as error:
            return str(error)

    given = scope(200)

    assert outcome(lambda: render(text_for(name), given)) == outcome(
        lambda: pool.submit("tests", "render", text_for(name), given).result()
    )


def test_what_takes_too_long_ends_alone(compute: Compute, pool: Pool) -> None:
    with pytest.raises(StepError) as failed:
        compute.render_now(SLOW, {})

    assert (failed.value.code, failed.value.message) == ("compute_time", "The template took longer than 2 s.")
    assert pool.submit("tests", "render", "{{ x }}", {"x": 1}).result() == 1


def test_what_needs_too_much_memory_ends_alone() -> None:
    pool = Pool(megabytes=64)
    rows: list[JSON] = [["x" * 50] * 20 for _ in range(15_000)]

    with pytest.raises(StepError) as failed:
        asyncio.run(Compute(pool, "tests").search("[to_string(@),[@,@]|to_string(@),[@,@]|to_string(@)]", rows))

    assert (failed.value.code, failed.value.message) == ("compute_memory", "The query needed more than 64 MB.")
    pool.close()


@pytest.mark.parametrize("levels", [22, 27])
def test_query_that_doubles_its_source_is_refused(compute: Compute, levels: int) -> None:
    with pytest.raises(StepError, match="larger than 20 MB") as failed:
        asyncio.run(compute.search("|".join(["[@,@]"] * levels), "x"))

    assert failed.value.code == "too_large_to_compute"


def test_result_of_a_child_is_the_result(compute: Compute) -> None:
    rows: JSON = [{"a": number} for number in range(20_000)]
    found = asyncio.run(compute.search("[?a >= `19999`]", rows))
    group = Group.model_validate({"all": [{"path": "b", "op": "contains", "value": "n"}]})

    assert found == [{"a": 19_999}]
    assert compute.judge_now(group, {"b": {"x": "y" * 300_000 + "n"}}) == ""
    assert compute.judge_now(group, {"b": {"x": "y" * 300_000}}).startswith("This condition does not hold: b contains")
    with pytest.raises(MappingError, match="missing"):
        compute.render_now("{{ x | strip_html }}{{ b.nope }}", {"x": "y" * 10_000, "b": {}})


def test_organization_leaves_a_child_to_the_others() -> None:
    pool = Pool(seconds=3)
    slow = [pool.submit("a", "render", SLOW, {}) for _ in range(4)]

    other = [pool.submit("b", "render", "{{ x }}", {"x": number}) for number in range(5)]

    assert [one.result(20) for one in other] == list(range(5))
    assert not slow[1].done()
    for one in slow:
        one.cancel()
    wait(slow)
    pool.close()


def test_line_of_an_organization_has_an_end() -> None:
    pool = Pool(waiting_limit=2)
    jobs = [pool.submit("a", "render", SLOW, {}) for _ in range(2)]

    with pytest.raises(StepError) as failed:
        jobs += [pool.submit("a", "render", SLOW, {}) for _ in range(2)]

    assert failed.value.code == "compute_busy"
    assert pool.submit("b", "render", "x", {}).result() == "x"
    for one in jobs:
        one.cancel()
    wait(jobs)
    pool.close()


def test_killed_children_are_replaced_and_their_job_done_again(pool: Pool) -> None:
    pool.submit("tests", "render", "x", {}).result()
    assert pool._crew is not None
    first = pool._crew._process.pid
    later = pool.submit("tests", "render", SLOW, {})
    while not later.running():
        time.sleep(0.001)

    os.kill(first, signal.SIGKILL)

    with pytest.raises(StepError, match="took longer"):
        later.result()
    assert pool.submit("tests", "render", "{{ x }}", {"x": 1}).result() == 1


OWNER = """
import sys, time
from connectors.compute.pool import Pool
pool = Pool()
pool.submit("a", "render", "x", {}).result()
print(pool._crew._process.pid, flush=True)
pool.submit("a", "render", sys.argv[1], {})
time.sleep(60)
"""


def test_children_end_with_the_process_that_they_compute_for() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, SLOW], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    first = int(owner.stdout.readline())
    keepers = children_of(first)
    assert len(keepers) == 2

    owner.kill()
    owner.wait()

    ends_at = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in (first, *keepers)):
        assert time.monotonic() < ends_at
        time.sleep(0.01)


def test_children_know_no_secret_and_reach_nothing(pool: Pool) -> None:
    pool.submit("tests", "render", "x", {}).result()
    assert pool._crew is not None
    first = pool._crew._process.pid

    environment = Path(f"/proc/{first}/environ").read_bytes().split(b"\0")

    assert {one.partition(b"=")[0] for one in environment if one} <= {b"PYTHONPATH", b"LC_ALL", b"TZ", b"LC_CTYPE"}
    for pid in (first, *children_of(first)):
        files = [os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir()]
        assert not [file for file in files if not file.startswith(("pipe:", "/dev/null", "/")) or "sqlite" in file]
        assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()


class Data(dict[str, JSON]):
    """A dictionary that a weak reference may point to."""


def test_failed_job_keeps_none_of_its_data(pool: Pool) -> None:
    data = Data(text="x" * 1000)
    alive = weakref.ref(data)
    gc.disable()
    try:
        with pytest.raises(StepError):
            pool.submit("tests", "render", SLOW, data).result()
        del data
        ends_at = time.monotonic() + 10
        while alive() is not None:  # its thread lets go of the job after it has told the result
            assert time.monotonic() < ends_at
            time.sleep(0.01)
    finally:
        gc.enable()

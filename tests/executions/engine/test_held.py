"""Large answers and payloads in a real engine: it holds as many as it may, tells how many, and all executions end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from connectors.outbound.holding import MEGABYTE, TOTAL
from executions.states import FINAL, Status
from harness.automations import Made, make
from harness.installation import Installation
from harness.processes import until
from tests.support.stub import Stub

LARGE = 3 * MEGABYTE
WEIGHT = 2 * LARGE  # as a value, and as the text to store
COUNT = 24
CALL = {"connector": "http", "action": "request"}
AHEAD = {"key": "large", **CALL, "input": {"method": "GET", "url": "{{ trigger.body.large }}"}}
SLOW = {"key": "slow", **CALL, "input": {"method": "GET", "url": "{{ trigger.body.slow }}"}}
PAUSE = {"key": "wait", "connector": "wait", "action": "for", "input": {"amount": 1, "unit": "seconds"}}


def held(installation: Installation) -> int:
    return int(installation.query("SELECT SUM(held_kb) AS kb FROM executions_engine")[0]["kb"] or 0) * 1024


def most_held(made: Made) -> int:
    """Wait until all executions have ended; return the most that engines told meanwhile."""
    final = ", ".join(str(status.value) for status in FINAL)
    told = [0]

    def have_ended() -> bool:
        told.append(held(made.installation))
        return bool(made.select("COUNT(*) AS n", "executions_execution", f"status IN ({final})")[0]["n"] == COUNT)

    until(have_ended, within=90, every=0.2, what="all executions have ended")
    success = made.select("COUNT(*) AS n", "executions_execution", f"status = {Status.SUCCESS.value}")
    assert success[0]["n"] == COUNT
    return max(told)


def test_engine_holds_large_answers_within_the_share_of_their_organization(
    installation: Installation, stub: Stub
) -> None:
    installation.settings["WORKERS"] = "1"
    installation.start()
    made = make(installation, {"calls": [AHEAD, SLOW]})
    stub.answer(path="/large", body=b"x" * LARGE, headers={"Content-Type": "text/plain"})
    stub.answer(path="/slow", delay=3)  # longer than a beat, which tells
    body = {"large": f"{stub.url}/large", "slow": f"{stub.url}/slow"}

    with ThreadPoolExecutor(8) as senders:
        list(senders.map(lambda _: made.start("calls", body), range(COUNT)))

    assert WEIGHT < most_held(made) <= TOTAL // 2 + WEIGHT
    until(lambda: held(installation) == 0, within=10, what="all is given back")


def test_what_resumes_at_one_instant_loads_large_results_within_the_share(
    installation: Installation, stub: Stub
) -> None:
    installation.settings["WORKERS"] = "1"
    installation.start()
    made = make(installation, {"calls": [AHEAD, PAUSE, SLOW]})
    stub.answer(path="/large", body=b"x" * LARGE, headers={"Content-Type": "text/plain"})
    stub.answer(path="/slow", delay=3)
    body = {"large": f"{stub.url}/large", "slow": f"{stub.url}/slow", "more": "y" * 100_000}

    with ThreadPoolExecutor(8) as senders:
        list(senders.map(lambda _: made.start("calls", body), range(COUNT)))

    assert WEIGHT < most_held(made) <= TOTAL // 2 + WEIGHT + 300_000
    until(lambda: held(installation) == 0, within=10, what="all is given back")

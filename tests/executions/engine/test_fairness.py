"""That no organization waits because of another one: shares of an engine's slots, and of the executions that start."""

from __future__ import annotations

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from executions.states import FINAL, Status
from harness.automations import RESPOND, TRANSFORM, Made, call, make
from harness.installation import Installation
from harness.processes import until
from tests.support.stub import Stub

SLOTS = 6
SLOW_S = 12.0  # seconds that the slow server takes: longer than all that a test does meanwhile
BACKLOG = 20_000
KINDS = {"transform": [TRANSFORM], "respond": [TRANSFORM, RESPOND], "call": [call()]}


def fill(made: Made, stub: Stub, calls: int, slots: int = SLOTS) -> None:
    """Have one organization fill all slots with calls that take SLOW_S, and leave others waiting."""
    stub.answer(path="/slow", delay=SLOW_S)
    with ThreadPoolExecutor(16) as senders:
        list(senders.map(lambda _: made.start("call", {"url": stub.url + "/slow"}), range(calls)))
    stub.wait_for(slots)


def ended(made: Made) -> int:
    final = ", ".join(str(status.value) for status in FINAL)
    return int(made.select("COUNT(*) AS n", "executions_execution", f"status IN ({final})")[0]["n"])


def pile_up(made: Made, count: int, organizations: list[str] | None = None, **fields: object) -> None:
    made.installation.call("tests.support.backlog.pile_up", made.triggers["transform"], count, organizations, **fields)


def test_an_engine_full_of_one_organizations_calls_serves_the_others_at_once(
    installation: Installation, stub: Stub
) -> None:
    installation.settings["ENGINE_SLOTS"] = str(SLOTS)
    installation.start()
    slow, other = make(installation, KINDS), make(installation, KINDS, name="Other")
    fill(slow, stub, 5 * SLOTS)

    answers = [other.post("respond") for _ in range(3)]
    executions = [other.wait(other.start("transform"), within=5) for _ in range(3)]

    assert answers == [(200, {"name": "ADA"})] * 3
    assert {execution["status"] for execution in executions} == {Status.SUCCESS}
    assert ended(slow) == 0, "none of the slow calls had to end first"
    assert len(stub.requests) == SLOTS, "no organization has more than all the slots"


def test_each_further_organization_finds_a_slot_and_none_takes_all_that_is_kept(
    installation: Installation, stub: Stub
) -> None:
    installation.settings["ENGINE_SLOTS"] = str(SLOTS)
    installation.start()
    slow = [make(installation, KINDS, name=f"Slow {number}") for number in range(2)]
    for number, made in enumerate(slow):
        fill(made, stub, 5 * SLOTS, SLOTS + number)
    third = make(installation, KINDS, name="Third")

    assert third.post("respond") == (200, {"name": "ADA"})
    assert [ended(made) for made in slow] == [0, 0]


def test_those_that_wait_get_the_slots_until_each_organization_has_its_share(
    installation: Installation, stub: Stub
) -> None:
    installation.settings["ENGINE_SLOTS"] = "8"
    installation.start()
    first, second = make(installation, KINDS), make(installation, KINDS, name="Second")
    stub.answer(path="/slow", delay=1.5)

    def start(made: Made) -> None:
        with ThreadPoolExecutor(16) as senders:
            list(senders.map(lambda _: made.start("call", {"url": stub.url + "/slow"}), range(40)))

    start(first)
    stub.wait_for(8)
    start(second)
    until(lambda: running(second) >= 4, within=5, what="the second organization has its half")
    until(lambda: running(first) <= 4, within=5, what="the first organization has no more than its half")

    until(lambda: ended(second) == ended(first) == 40, within=60, what="both have all that they asked for")


def running(made: Made) -> int:
    return int(made.select("COUNT(*) AS n", "executions_execution", "status = 1")[0]["n"])


def test_a_new_execution_overtakes_the_backlog_of_another_organization(installation: Installation) -> None:
    installation.start_web()
    busy, other = make(installation, KINDS), make(installation, KINDS, name="Other")
    pile_up(busy, BACKLOG)
    installation.start_cluster()
    until(lambda: ended(busy) > 0, what="the backlog is being worked off")

    executions = [other.wait(other.start("transform"), within=20) for _ in range(3)]

    assert {execution["status"] for execution in executions} == {Status.SUCCESS}
    assert ended(busy) < BACKLOG, "the backlog is not through before"
    until(lambda: ended(busy) == BACKLOG, within=90, what="the backlog is through")


def test_what_resumes_all_at_once_is_overtaken_too(installation: Installation) -> None:
    installation.start_web()
    busy, other = make(installation, KINDS), make(installation, KINDS, name="Other")
    pile_up(busy, BACKLOG, status=Status.PAUSED.value, is_due=False)
    installation.start_cluster()
    until(lambda: ended(busy) > 0, what="the first ones have resumed")

    execution = other.wait(other.start("transform"), within=20)

    assert execution["status"] == Status.SUCCESS
    assert ended(busy) < BACKLOG, "the backlog is not through before"
    until(lambda: ended(busy) == BACKLOG, within=90, what="the backlog is through")


def test_organizations_that_wait_start_equally_often(installation: Installation) -> None:
    each = 2000
    made = [make(installation, {"transform": [TRANSFORM]}, name=f"Number {number}") for number in range(3)]
    for one in made:
        pile_up(one, each)
    installation.start_cluster()
    until(lambda: sum(map(ended, made)) == 3 * each, within=60, what="all have ended")

    starts = Counter(started(installation, 3 * each // 2))

    assert len(starts) == 3
    assert max(starts.values()) < 1.3 * min(starts.values())


def test_more_organizations_than_one_claim_takes_have_their_turn(installation: Installation) -> None:
    each, organizations = 20, [uuid.uuid4() for _ in range(300)]
    made = make(installation, {"transform": [TRANSFORM]})
    pile_up(made, each, [str(organization) for organization in organizations])
    installation.start_cluster()
    done = "SELECT COUNT(*) AS n FROM executions_execution WHERE status = 3"
    until(lambda: installation.query(done)[0]["n"] == each * len(organizations), within=60, what="all have ended")

    starts = Counter(started(installation, each * len(organizations) // 2))

    assert len(starts) == len(organizations), "each has started some when half are through"
    assert min(starts.values()) >= each // 10, "half of them would be each organization's even part"


def started(installation: Installation, first: int) -> list[uuid.UUID]:
    """Return the organizations of the executions that started first."""
    sql = f"SELECT organization_id AS o FROM executions_execution ORDER BY started_at LIMIT {first}"
    return [row["o"] for row in installation.query(sql)]

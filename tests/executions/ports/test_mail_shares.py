"""E-mails of one organization that a mail server keeps waiting, and those of the others, which do not wait for them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from executions.ports.mail import ALONE, PLACES, DjangoMail
from executions.states import Status
from harness.automations import EMAIL, Made, make
from harness.installation import Installation
from harness.processes import until
from tests.support.smtp import Smtp

DRIPPED = "drip@example.com"
TO = {"to": "{{ trigger.body.to }}", "subject": "Hello"}
HASTY = EMAIL | {"input": TO, "time_limit_s": 1, "retry": {"times": 1, "backoff_s": 0.05}}
KINDS: dict[str, list[dict[str, Any]]] = {"email": [EMAIL | {"input": TO}], "hasty": [HASTY]}


def start(made: Made, name: str, to: str, count: int) -> list[Any]:
    with ThreadPoolExecutor(16) as senders:
        return list(senders.map(lambda _: made.start(name, {"to": to}), range(count)))


def fill(made: Made, smtp: Smtp) -> None:
    """Have an organization's e-mails take all the places that it can have."""
    smtp.dripping.add(DRIPPED)
    start(made, "email", DRIPPED, 60)
    until(lambda: smtp.drips >= min(60, ALONE), what="the mail server drips")


def test_e_mails_that_drip_hold_up_no_other_organizations(whole: Installation, smtp: Smtp) -> None:
    slow, other = make(whole, KINDS), make(whole, KINDS, name="Other")
    fill(slow, smtp)

    ended = [other.wait(id, within=8) for id in start(other, "email", "ada@example.com", 5)]

    assert {one["status"] for one in ended} == {Status.SUCCESS}
    assert [mail.recipients for mail in smtp.mails] == [["ada@example.com"]] * 5
    assert smtp.drips == ALONE, "the others of the slow organization wait in its own line"


def test_an_e_mail_whose_time_ends_in_the_line_was_not_sent_and_is_tried_again(whole: Installation, smtp: Smtp) -> None:
    made = make(whole, KINDS)
    fill(made, smtp)

    [late] = start(made, "hasty", "ada@example.com", 1)

    assert made.wait(late, within=15)["status"] == Status.FAILED
    [step] = made.step_runs(late)
    assert (step["error_code"], step["tries"]) == ("step_time_limit", 2)
    assert "has not been sent" in step["error"] and "1 s" in step["error"]
    assert smtp.mails == []
    assert made.select("emails", "projects_usagemonth") == [{"emails": ALONE}], "only those that began are counted"


def test_an_e_mail_that_is_tried_again_after_the_line_is_sent_once(whole: Installation, smtp: Smtp) -> None:
    made = make(whole, KINDS | {"patient": [HASTY | {"retry": {"times": 10, "backoff_s": 0.1}}]})
    with smtp.holding():
        start(made, "email", "ada@example.com", ALONE)
        until(lambda: smtp.held == ALONE, what="all places are taken")
        [late] = start(made, "patient", "late@example.com", 1)
        until(lambda: any(run["tries"] > 1 for run in made.step_runs(late)), what="it is tried again")

    assert made.wait(late, within=30)["status"] == Status.SUCCESS
    assert [mail.recipients for mail in smtp.mails].count(["late@example.com"]) == 1


def test_an_execution_whose_time_ends_in_the_line_says_that_its_e_mail_was_not_sent(
    whole: Installation, smtp: Smtp
) -> None:
    made = make(whole, KINDS | {"rejected": [EMAIL]})
    made.change("rejected", "time_limit_s", 1)
    fill(made, smtp)

    execution = made.wait(made.start("rejected"), within=15)

    assert (execution["status"], execution["reason_code"]) == (Status.REJECTED, "time_limit")
    assert "allotted time of 1 s" in execution["reason"] and "has not been sent" in execution["reason"]
    assert smtp.mails == []


def test_a_step_that_leaves_its_e_mail_alone_keeps_its_place(whole: Installation, smtp: Smtp) -> None:
    slow, other = make(whole, KINDS), make(whole, KINDS, name="Other")
    smtp.dripping.add(DRIPPED)

    for id in start(slow, "hasty", DRIPPED, 3 * PLACES):
        assert slow.wait(id, within=30)["status"] == Status.FAILED
    [quick] = start(other, "email", "ada@example.com", 1)

    assert other.wait(quick, within=8)["status"] == Status.SUCCESS
    assert smtp.drips == ALONE


class Blocked:
    """Calls that block their threads until told to go."""

    def __init__(self) -> None:
        self.mail = DjangoMail()
        self.may_go = threading.Event()
        self.begun: list[str] = []
        self.calls: list[asyncio.Task[None]] = []

    def come(self, asker: str, count: int) -> list[asyncio.Task[None]]:
        calls = [asyncio.create_task(self.mail.in_thread(asker, self._block, asker)) for _ in range(count)]
        self.calls += calls
        return calls

    def _block(self, asker: str) -> None:
        self.begun.append(asker)
        assert self.may_go.wait(20)

    async def settle(self, begun: int) -> None:
        async with asyncio.timeout(10):
            while len(self.begun) < begun:
                await asyncio.sleep(0.01)


def test_five_slow_organizations_leave_a_thread_to_the_next() -> None:
    async def scenario() -> list[str]:
        blocked = Blocked()
        try:
            for place in range(5):
                blocked.come(f"slow {place}", 3 * PLACES)
                await blocked.settle(place + 1)
            blocked.come("next", 1)
            await blocked.settle(ALONE + 5)
            async with asyncio.timeout(10):
                while "next" not in blocked.begun:
                    await asyncio.sleep(0.01)
        finally:
            blocked.may_go.set()
        await asyncio.gather(*blocked.calls)
        return blocked.begun

    assert len(asyncio.run(scenario())) == 5 * 3 * PLACES + 1


def test_who_is_cancelled_leaves_the_line_or_keeps_the_place_until_the_thread_ends() -> None:
    async def scenario() -> None:
        blocked = Blocked()
        begun = blocked.come("A", ALONE)
        waiting = blocked.come("A", 10)
        await blocked.settle(ALONE)
        for call in [*begun, *waiting]:
            call.cancel()
        await asyncio.gather(*blocked.calls, return_exceptions=True)

        assert all(call.cancelled() for call in blocked.calls)
        assert (blocked.mail.places.held["A"], blocked.mail.places.waiting) == (ALONE, {})
        blocked.may_go.set()
        async with asyncio.timeout(10):
            while blocked.mail.places.held:
                await asyncio.sleep(0.01)
        assert (blocked.mail.places.free, blocked.begun) == (PLACES, ["A"] * ALONE)

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [OSError("gone"), None])
def test_a_place_is_given_back_whatever_the_end(error: OSError | None) -> None:
    def work() -> int:
        if error:
            raise error
        return 7

    async def scenario() -> DjangoMail:
        mail = DjangoMail()
        results = await asyncio.gather(*(mail.in_thread("A", work) for _ in range(3 * PLACES)), return_exceptions=True)
        assert results == [error or 7] * (3 * PLACES)
        return mail

    assert asyncio.run(scenario()).places.free == PLACES

"""E-mail steps while the database is away: they wait for it, and what the mail server said is never lost."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from executions.ports.mail import ALONE
from executions.states import Status, StepStatus
from harness.automations import AUTOMATIONS, Made, make
from harness.installation import Installation
from harness.processes import until
from tests.support.smtp import Smtp

WAITING = 4


@pytest.fixture
def made(whole: Installation) -> Made:
    return make(whole, {"email": AUTOMATIONS["email"]})


def start_and_hold(made: Made, smtp: Smtp, count: int) -> None:
    """Start so many and return once they are about to send, as many as there are threads in the middle of it."""
    for _ in range(count):
        made.start("email")
    until(lambda: smtp.held == min(count, ALONE), what="the mail server keeps them waiting")
    about_to = f"key = 'mail' AND status = {StepStatus.RUNNING.value}"
    until(lambda: len(made.select("1", "executions_steprun", about_to)) == count, what="all are about to send")


def wait_until_noticed(made: Made, what: str) -> None:
    """Wait until the database was asked for in vain; SQLite's lock just takes its time."""
    if made.installation.backend == "postgresql":
        until(lambda: what in made.installation.logs(), within=8, what=f"the log says “{what}”")


def emails(made: Made) -> int:
    return int(made.select("emails", "projects_usagemonth")[0]["emails"])


def test_an_e_mail_waits_for_the_database(made: Made, smtp: Smtp) -> None:
    with ExitStack() as outage:
        with smtp.holding():
            start_and_hold(made, smtp, ALONE + WAITING)
            outage.enter_context(made.installation.database.away())
        smtp.wait_for(ALONE)
        wait_until_noticed(made, "an e-mail waits for the database")

    until(lambda: ended(made) == ALONE + WAITING, within=30, what="all have ended")
    codes = made.select("DISTINCT status, reason_code", "executions_execution")
    assert codes == [{"status": Status.SUCCESS, "reason_code": ""}]
    assert (len(smtp.mails), emails(made)) == (ALONE + WAITING, ALONE + WAITING)


def test_what_the_mail_server_said_is_not_lost_when_the_database_is_away(made: Made, smtp: Smtp) -> None:
    smtp.refuse("RCPT", "550 no such user")
    with ExitStack() as outage:
        with smtp.holding():
            start_and_hold(made, smtp, 1)
            outage.enter_context(made.installation.database.away())
        wait_until_noticed(made, "an e-mail that was not sent still counts")

    until(lambda: ended(made) == 1, within=30, what="it has ended")
    [execution] = made.select("status, reason_code", "executions_execution")
    assert execution == {"status": Status.FAILED, "reason_code": "recipient_refused"}
    until(lambda: emails(made) == 0, what="it is not counted")


def ended(made: Made) -> int:
    return len(made.select("1", "executions_execution", "status NOT IN (0, 1, 2)"))

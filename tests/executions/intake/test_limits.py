"""The month's limits are exact, however many ask for the last of them at once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection

from executions.ports.mail import ALONE
from executions.states import FINAL, Status
from executions.store import store
from harness.automations import AUTOMATIONS, Made, make
from harness.installation import Installation
from harness.processes import until
from projects.models import Organization, UsageMonth, this_month
from tests.support.smtp import Smtp

LIMIT = 40


@pytest.fixture
def second_server(server: Installation, tmp_path: Path) -> Iterator[Installation]:
    """Return a second machine's installation, on the same database, with its web server running."""
    directory = tmp_path / "second"
    directory.mkdir()
    second = server.copy(directory, server.database)
    try:
        second.start_web()
        yield second
    finally:
        second.kill()


def test_two_servers_accept_exactly_what_the_hard_limit_leaves(
    server: Installation, second_server: Installation
) -> None:
    made = make(server, AUTOMATIONS)
    made.set_organization("hard_limit", LIMIT)
    doors = [made, replace(made, installation=second_server)]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: doors[number % 2].post("transform")[0], range(4 * LIMIT)))

    assert Counter(answers) == {202: LIMIT, 429: 3 * LIMIT}
    assert made.executions == LIMIT
    assert made.select("reserved", "projects_usagemonth") == [{"reserved": LIMIT}]
    assert len(made.select("id", "executions_receipt", "code = 'hard_limit'")) == 3 * LIMIT


def test_two_servers_keep_the_limits_of_many_organizations_at_once(
    server: Installation, second_server: Installation
) -> None:
    every = [make(server, {"transform": AUTOMATIONS["transform"]}, name=f"Shop {number}") for number in range(20)]
    limits = [number % 4 if number < 12 else None for number in range(20)]
    for made, limit in zip(every, limits, strict=True):
        made.set_organization("hard_limit", limit)
    doors = [(number, replace(made, installation=where)) for number, made in enumerate(every)
             for where in (server, second_server) * 3]  # fmt: skip
    random.Random(7).shuffle(doors)

    with ThreadPoolExecutor(24) as threads:
        answers = Counter(threads.map(lambda door: (door[0], door[1].post("transform")[0]), doors))

    for number, (made, limit) in enumerate(zip(every, limits, strict=True)):
        left = 6 if limit is None else limit
        assert (answers[number, 202], answers[number, 429]) == (left, 6 - left)
        assert made.executions == left
        assert sum(row["reserved"] for row in made.select("reserved", "projects_usagemonth")) == left


@pytest.mark.django_db(transaction=True)
def test_each_organization_of_a_batch_gets_what_its_limit_leaves() -> None:
    limits = [None, 10, 3, 0, 5, 5, 5, 5]
    used = [7, 7, None, None, 5, 3, 9, None]  # None: nothing in this month as yet
    month = this_month()
    every = [Organization.objects.create(name=str(number), hard_limit=limit) for number, limit in enumerate(limits)]
    for organization, amount in zip(every, used, strict=True):
        if amount is not None:
            UsageMonth.objects.create(organization=organization, month=month, reserved=amount)

    with store().pipeline():
        given = store().reserve_each({(organization.pk, month): 4 for organization in every})

    assert [given[organization.pk, month] for organization in every] == [4, 3, 3, 0, 0, 2, 0, 4]
    reserved = dict(UsageMonth.objects.values_list("organization", "reserved"))
    assert [reserved[organization.pk] for organization in every] == [11, 10, 3, 0, 5, 5, 9, 4]


@pytest.mark.django_db(transaction=True)
def test_two_months_of_one_organization_are_reserved_apart(organization: Organization) -> None:
    Organization.objects.update(hard_limit=5)
    month = this_month()
    before = (month - timedelta(days=1)).replace(day=1)

    with store().pipeline():
        left = store().reserve_each({(organization.pk, month): 2, (organization.pk, before): 9})

    assert left == {(organization.pk, month): 2, (organization.pk, before): 5}


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer at a time")
def test_who_waited_for_the_last_of_the_month_finds_it_taken(organization: Organization) -> None:
    Organization.objects.update(hard_limit=2)
    UsageMonth.objects.create(organization=organization, month=this_month(), reserved=1)

    def reserve() -> int:
        try:
            with store().pipeline():
                return store().reserve(organization.pk, this_month(), 1)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        with store().transaction():
            assert store().reserve(organization.pk, this_month(), 1) == 1
            second = thread.submit(reserve)
            until(somebody_waits, what="the second one has found the row locked")
        assert second.result() == 0

    assert UsageMonth.objects.get().reserved == 2


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # or a transaction sees the same for ever
        cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
                       " AND wait_event_type = 'Lock')")  # fmt: skip
        return bool(cursor.fetchone()[0])


def test_two_workers_send_exactly_as_many_e_mails_as_the_maximum(installation: Installation, smtp: Smtp) -> None:
    installation.settings |= {"WORKERS": "2", "ENGINE_SLOTS": "20"}  # so that one worker cannot take them all
    made = make(installation, AUTOMATIONS)
    made.set_organization("email_limit", LIMIT)
    installation.start_web()
    for _ in range(4 * LIMIT):
        made.start("email")

    with smtp.holding():
        installation.start_cluster()
        until(lambda: smtp.held == 2 * ALONE, within=30, what="both workers send as many at once as they can")
    until(lambda: by_status(made).keys() <= FINAL, within=60, what="all have ended")

    assert by_status(made) == {Status.SUCCESS: LIMIT, Status.PARTIALLY_EXECUTED: 3 * LIMIT}
    assert len(smtp.mails) == LIMIT
    assert made.select("emails", "projects_usagemonth") == [{"emails": LIMIT}]


def by_status(made: Made) -> dict[Status, int]:
    rows = made.installation.query(
        "SELECT status, COUNT(*) AS n FROM executions_execution WHERE organization_id = %s GROUP BY status",
        [made.organization],
    )
    return {Status(row["status"]): row["n"] for row in rows}

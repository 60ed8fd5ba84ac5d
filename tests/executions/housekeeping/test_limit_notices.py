"""E-mails about limits: who gets them, when, and never twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from executions.housekeeping.limit_notices import due_notices, send_due_notices
from harness.automations import TRANSFORM, make
from harness.installation import Installation
from harness.processes import until
from projects.models import LimitNotice, Membership, Organization, Project, UsageMonth, this_month
from tests.support.smtp import Smtp

LIMITS = {"soft_limit": None, "hard_limit": None, "email_limit": None}
OWNERS = """
from django.contrib.auth.models import User
from projects.models import Membership, Organization
organization = Organization.objects.get(name="Tested")
Organization.objects.update(hard_limit=10)
for name, role in (("ada", "owner"), ("bob", "owner"), ("eve", "admin")):
    user = User.objects.create_user(name, f"{name}@example.com")
    Membership.objects.create(organization=organization, user=user, role=role)
"""
LOOK = """
from django_q.tasks import async_task
for _ in range(8):
    async_task("executions.tasks.notify_of_limits")
"""


@pytest.fixture
def mails(smtp: Smtp, settings: Settings) -> Smtp:
    backend = "django.core.mail.backends.smtp.EmailBackend"
    settings.MAILERS = {"notices": {"BACKEND": backend, "OPTIONS": {"host": "127.0.0.1", "port": smtp.port}}}
    return smtp


@pytest.fixture
def use(organization: Organization, builder: User, project: Project, mails: Smtp) -> Callable[..., list[str]]:
    """Return a function that sets limits and what is used of them, has a look, and returns the new subjects."""

    def look(*, reserved: int = 0, emails: int = 0, month: Any = None, **limits: int) -> list[str]:
        Organization.objects.filter(pk=organization.pk).update(**LIMITS | limits)
        UsageMonth.objects.update_or_create(
            organization=organization, month=month or this_month(), defaults={"reserved": reserved, "emails": emails}
        )
        mails.mails.clear()
        send_due_notices()
        return [str(mail.message["Subject"]) for mail in mails.mails]

    return look


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"soft_limit": 10}, "soft limit of executions"),
        ({"hard_limit": 10}, "hard limit of executions"),
        ({"email_limit": 10}, "maximum of e-mails"),
    ],
)
def test_owners_are_told_once_when_a_limit_is_near_and_once_when_it_is_reached(
    use: Callable[..., list[str]], limits: dict[str, int], words: str
) -> None:
    counter = "emails" if "email_limit" in limits else "reserved"

    told = [use(**{counter: used}, **limits) for used in (0, 7, 8, 9, 10, 11)]

    assert told == [[], [], [f"Acme: {words}, 80 % used"], [], [f"Acme: {words}, reached"], []]


@pytest.mark.parametrize(
    ("limit", "used", "is_told"), [(9, 7, False), (9, 8, True), (100, 79, False), (1, 0, False), (2**31 - 1, 5, False)]
)
def test_80_percent_is_meant_exactly(use: Callable[..., list[str]], limit: int, used: int, *, is_told: bool) -> None:
    assert bool(use(reserved=used, hard_limit=limit)) is is_told


def test_a_limit_reached_at_once_is_told_at_once_and_once(use: Callable[..., list[str]]) -> None:
    told = [use(emails=used, email_limit=10) for used in (10, 10, 9)]  # the mail server gave one back

    assert told == [["Acme: maximum of e-mails, reached"], [], []]


def test_each_limit_is_told_for_itself(use: Callable[..., list[str]]) -> None:
    assert len(use(reserved=10, emails=10, soft_limit=10, hard_limit=12, email_limit=10)) == 3


def test_only_this_month_is_told_and_each_month_anew(use: Callable[..., list[str]], organization: Organization) -> None:
    last_month = (this_month() - timedelta(days=1)).replace(day=1)
    assert use(reserved=10, month=last_month, hard_limit=10) == []

    LimitNotice.objects.create(organization=organization, month=last_month, limit="hard", percent=80)
    assert len(use(reserved=8, hard_limit=10)) == 1


def test_the_e_mail_says_what_is_used_what_happens_until_when_and_where(
    use: Callable[..., list[str]], mails: Smtp, project: Project
) -> None:
    use(reserved=1640, hard_limit=2000)

    text = " ".join(mails.mails[0].message.get_content().split())
    month, following = this_month(), (this_month() + timedelta(days=31)).replace(day=1)
    assert f"Acme has used 1,640 of 2,000 executions in {month:%B %Y}: 82 % of its hard limit" in text
    assert f"At 100 %, until {following:%-d %B %Y}, 00:00 UTC: new requests to trigger URLs are refused" in text
    assert f"/projects/{project.pk}/usage/" in text


def test_only_active_owners_with_an_address_are_told(
    use: Callable[..., list[str]], organization: Organization, mails: Smtp
) -> None:
    for name, role, fields in (
        ("second", "owner", {}),
        ("admin", "admin", {}),
        ("gone", "owner", {"is_active": False}),
        ("nameless", "owner", {"email": ""}),
    ):
        user = User.objects.create_user(name, **{"email": f"{name}@example.com"} | fields)
        Membership.objects.create(organization=organization, user=user, role=role)

    use(reserved=8, hard_limit=10)

    assert [mail.recipients for mail in mails.mails] == [["builder@example.com"], ["second@example.com"]]


def test_owners_are_told_later_when_the_mail_server_is_away(use: Callable[..., list[str]], mails: Smtp) -> None:
    mails.refuse("MAIL", "451 come again")
    assert use(reserved=8, hard_limit=10) == []

    mails.refusals.clear()
    assert use(reserved=8, hard_limit=10) == ["Acme: hard limit of executions, 80 % used"]


@pytest.fixture
def second(organization: Organization) -> User:
    """Return another owner, who is told after the builder."""
    user = User.objects.create_user("second", "second@example.com")
    Membership.objects.create(organization=organization, user=user, role=Membership.Role.OWNER)
    return user


def recipients(mails: Smtp) -> list[str]:
    return [mail.recipients[0] for mail in mails.mails]


def test_who_is_left_over_when_the_mail_server_goes_away_is_told_later(
    use: Callable[..., list[str]], mails: Smtp, second: User
) -> None:
    mails.refuse("MAIL", "451 come again", after=1)
    use(reserved=8, hard_limit=10)
    assert recipients(mails) == ["builder@example.com"]

    mails.refusals.clear()
    use(reserved=9, hard_limit=10)
    assert recipients(mails) == [second.email]
    assert use(reserved=9, hard_limit=10) == []


def test_who_is_left_over_when_the_time_is_up_is_told_later(
    use: Callable[..., list[str]], mails: Smtp, second: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executions.housekeeping.limit_notices.BUDGET_S", 1)
    mails.delay = 1.1
    use(reserved=8, hard_limit=10)
    assert recipients(mails) == ["builder@example.com"]

    use(reserved=8, hard_limit=10)
    assert recipients(mails) == [second.email]


def test_who_is_left_over_by_a_look_that_died_is_told_once_its_time_is_over(
    use: Callable[..., list[str]], mails: Smtp, organization: Organization, builder: User, second: User
) -> None:
    look = LimitNotice.objects.create(
        organization=organization,
        month=this_month(),
        limit="hard",
        percent=80,
        told=[builder.pk],
        again_at=timezone.now() + timedelta(minutes=1),
    )
    assert use(reserved=8, hard_limit=10) == []

    LimitNotice.objects.filter(pk=look.pk).update(again_at=timezone.now() - timedelta(minutes=1))
    use(reserved=8, hard_limit=10)
    assert recipients(mails) == [second.email]


def test_who_is_left_over_at_80_percent_is_told_of_100_percent_only(
    use: Callable[..., list[str]], mails: Smtp, second: User
) -> None:
    mails.refuse("MAIL", "451 come again", after=1)
    use(emails=8, email_limit=10)
    mails.refusals.clear()

    assert use(emails=10, email_limit=10) == ["Acme: maximum of e-mails, reached"] * 2
    assert use(emails=9, email_limit=10) == []


def test_an_organization_without_a_reachable_owner_keeps_no_other_from_being_told(
    use: Callable[..., list[str]], stranger: User, mails: Smtp
) -> None:
    Organization.objects.update(hard_limit=10)
    for other in Organization.objects.all():
        UsageMonth.objects.create(organization=other, month=this_month(), reserved=9)
    User.objects.filter(username="builder").update(email="")

    send_due_notices()

    assert [mail.recipients for mail in mails.mails] == [["stranger@example.com"]]
    assert not LimitNotice.objects.filter(organization__name="Acme").exists()  # a look to come may find an address


def test_the_months_e_mails_are_not_used_for_it(use: Callable[..., list[str]], organization: Organization) -> None:
    assert use(emails=8, email_limit=10)
    assert UsageMonth.objects.get(organization=organization).emails == 8


def test_a_look_that_finds_nothing_is_one_question(
    use: Callable[..., list[str]], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    use(reserved=7, hard_limit=10)

    with django_assert_num_queries(1):
        send_due_notices()


# --- real clusters


def test_two_clusters_tell_each_owner_once_of_each_level(installation: Installation, smtp: Smtp) -> None:
    made = make(installation, {"transform": [TRANSFORM]})
    installation.python(OWNERS)
    installation.start()
    another = installation.start_another_cluster()
    try:
        for posts, mails in ((8, 2), (2, 4)):
            assert {made.post("transform")[0] for _ in range(posts)} == {202}
            _look(installation)
            smtp.wait_for(mails)
            assert len(smtp.mails) == mails
    finally:
        another.end()

    told = sorted((mail.recipients[0], str(mail.message["Subject"]).split(", ")[1]) for mail in smtp.mails)
    assert told == [(f"{name}@example.com", level) for name in ("ada", "bob") for level in ("80 % used", "reached")]
    assert made.post("transform")[0] == 429


def _look(installation: Installation) -> None:
    """Have all workers look at the same time, and wait until they have."""
    installation.python(LOOK)
    until(lambda: not installation.query("SELECT 1 FROM django_q_ormq"), what="all looks are done")


SLOW = """
from django.contrib.auth.models import User
from projects.models import Membership, Organization, UsageMonth, this_month
for name in ("slow", "ada", "bob"):
    organization = Organization.objects.create(name=f"Org of {name}", hard_limit=10)
    user = User.objects.create_user(name, f"{name}@example.com")
    Membership.objects.create(organization=organization, user=user, role="owner")
    UsageMonth.objects.create(organization=organization, month=this_month(), reserved=9)
"""


def test_a_dripping_mail_server_costs_no_engine_and_no_other_organization_its_notice(
    installation: Installation, smtp: Smtp
) -> None:
    smtp.dripping.add("slow@example.com")
    installation.python(SLOW)
    installation.start_cluster()
    engines = installation.query("SELECT id, pid FROM executions_engine WHERE NOT is_quarantine")

    installation.python("from django_q.tasks import async_task; async_task('executions.tasks.notify_of_limits')")

    assert {mail.recipients[0] for mail in smtp.wait_for(2, within=40)} == {"ada@example.com", "bob@example.com"}
    until(lambda: not installation.query("SELECT 1 FROM django_q_ormq"), within=70, what="all looks are done")
    until(lambda: smtp.left, within=30, what="the dripping server is left")
    assert installation.query("SELECT id, pid FROM executions_engine WHERE NOT is_quarantine") == engines
    assert not installation.query("SELECT 1 FROM django_q_task WHERE NOT success")


def test_who_could_not_be_told_comes_after_all_others(
    use: Callable[..., list[str]], stranger: User, mails: Smtp
) -> None:
    mails.refuse("MAIL", "451 come again")
    assert use(reserved=8, hard_limit=10) == []
    other = Organization.objects.exclude(name="Acme").get()
    Organization.objects.filter(pk=other.pk).update(hard_limit=10)
    UsageMonth.objects.create(organization=other, month=this_month(), reserved=9)

    assert [notice.organization.name for notice in due_notices()] == ["Other", "Acme"]

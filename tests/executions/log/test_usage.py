from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from automations.models import Automation
from executions.states import Status
from projects.models import Organization, Project, UsageDay, UsageMonth, this_month
from tests.support.markup import compact

pytestmark = pytest.mark.django_db

type Count = Callable[..., None]


@pytest.fixture
def count(project: Project, automation: Automation) -> Count:
    def make(day: date, status: Status, number: int, *, shard: int = 0, of: Project = project) -> None:
        UsageDay.objects.create(
            organization=of.organization, project=of, automation_id=automation.pk, day=day, status=status,
            shard=shard, count=number,
        )  # fmt: skip

    return make


def text_of(client: Client, project: Project, query: str = "") -> str:
    answer = client.get(f"/projects/{project.pk}/usage/{query}")
    assert answer.status_code == 200
    return compact(answer.content.decode())


def test_usage_sums_shards_by_day_status_and_automation(visitor: Client, project: Project, count: Count) -> None:
    day = this_month()
    count(day, Status.SUCCESS, 1000, shard=0)
    count(day, Status.SUCCESS, 500, shard=1)
    count(day, Status.FAILED, 7)

    html = text_of(visitor, project)

    assert f"<title>{day:%-d %b}: 1,500 Success</title>" in html
    assert f"<title>{day:%-d %b}: 7 Failed</title>" in html
    assert re.search(r">Orders</a>.*?1,500</td>.*?7</td>.*?<strong>1,507</strong>", html)


def test_usage_is_of_one_project_and_one_month(
    visitor: Client, project: Project, organization: Organization, count: Count
) -> None:
    count(this_month() - timedelta(days=1), Status.SUCCESS, 31)
    count(this_month(), Status.SUCCESS, 41, of=Project.objects.create(organization=organization, name="Second"))

    assert "Nothing counted in" in text_of(visitor, project)
    last_month = this_month() - timedelta(days=1)
    assert ": 31 Success</title>" in text_of(visitor, project, f"?month={last_month:%Y-%m}")


@pytest.mark.parametrize("month", ["nonsense", "2026-13", "0001-01", "9999-12", "2026-1-1", "%00"])
def test_a_month_that_is_none_is_told(visitor: Client, project: Project, month: str) -> None:
    assert "is not a month" in text_of(visitor, project, f"?month={month}")


@pytest.mark.parametrize(
    ("reserved", "says"),
    [(9, "When reached: a banner"), (10, "Reached: a banner"), (20, "Reached: new requests get 429")],
)
def test_usage_says_which_limit_is_reached(
    visitor: Client, project: Project, organization: Organization, *, reserved: int, says: str
) -> None:
    Organization.objects.filter(pk=organization.pk).update(soft_limit=10, hard_limit=20)
    UsageMonth.objects.create(organization=organization, month=this_month(), reserved=reserved)

    html = text_of(visitor, project)

    assert says in html
    assert f'<progress class="meter" max="20" value="{reserved}"' in html


@pytest.mark.parametrize(
    ("reserved", "banner"),
    [
        (7, None),
        (8, "8 of 10 executions this month, the soft limit"),
        (10, "<strong>10 of 10 executions this month"),
        (20, "The month’s executions are used up"),
    ],
)
def test_the_log_warns_when_a_limit_is_near_or_reached(
    visitor: Client, project: Project, organization: Organization, *, reserved: int, banner: str | None
) -> None:
    Organization.objects.filter(pk=organization.pk).update(soft_limit=10, hard_limit=20)
    UsageMonth.objects.create(organization=organization, month=this_month(), reserved=reserved)

    html = compact(visitor.get(f"/projects/{project.pk}/executions/").content.decode())

    assert ('class="alert banner"' in html) is (banner is not None)
    assert banner is None or banner in html


@pytest.mark.parametrize(
    ("sent", "level", "says"),
    [
        (79, None, "When reached: executions end Partially Executed at an e-mail step"),
        (80, "note", "80 of 100 e-mails this month"),
        (100, "warn", "The month’s e-mails are used up"),
    ],
)
def test_usage_warns_of_the_months_emails(
    visitor: Client, project: Project, organization: Organization, *, sent: int, level: str | None, says: str
) -> None:
    Organization.objects.filter(pk=organization.pk).update(email_limit=100)
    UsageMonth.objects.create(organization=organization, month=this_month(), emails=sent)

    html = text_of(visitor, project)

    assert says in html
    assert f'<progress class="meter" max="100" value="{sent}"' in html
    assert re.findall('class="alert banner" data-level="([a-z]+)"', html) == ([level] if level else [])


def test_no_limit_means_none(visitor: Client, project: Project, organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(email_limit=None)

    assert "<progress" not in text_of(visitor, project)


def test_usage_never_counts_rows(
    visitor: Client, project: Project, count: Count, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for shard in range(20):
        count(this_month(), Status.SUCCESS, 3, shard=shard)

    with django_assert_num_queries(7) as asked:
        text_of(visitor, project)

    assert not any("COUNT(" in q["sql"].upper() or "executions_execution" in q["sql"] for q in asked.captured_queries)


def test_help_names_the_seven_statuses_and_the_limits_of_retry(visitor: Client) -> None:
    html = visitor.get("/help/executions/").content.decode()

    assert all(f"<span>{status.label}</span>" in html for status in Status)
    assert "Response step" in html
    assert "at most <strong>2</strong> times" in html

"""The settings of an organization: who reads and who changes them, and what is no value."""

from __future__ import annotations

import html
import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from projects.models import Membership, Organization, UsageMonth, this_month
from tests.support.markup import compact

pytestmark = pytest.mark.django_db

FORM = {"throttle_rate": "2.5", "duplicates_h": "48", "keep_days": "60", "keep_count": "", "keep_payloads_days": "7"}


@pytest.fixture
def visitor(client: Client, builder: User) -> Client:
    client.force_login(builder)
    return client


def url_of(organization: Organization) -> str:
    return f"/settings/organization/{organization.pk}/"


def text_of(client: Client, organization: Organization) -> str:
    answer = client.get(url_of(organization))
    assert answer.status_code == 200
    return html.unescape(compact(answer.content.decode()))


def join(organization: Organization, role: Membership.Role) -> User:
    user = User.objects.create_user("colleague")
    Membership.objects.create(organization=organization, user=user, role=role)
    return user


@pytest.mark.parametrize("role", [Membership.Role.OWNER, Membership.Role.ADMIN])
def test_settings_are_changed_by_owners_and_admins(
    client: Client, organization: Organization, role: Membership.Role
) -> None:
    client.force_login(join(organization, role))

    assert client.post(url_of(organization), FORM).status_code == 302

    organization.refresh_from_db()
    assert (organization.throttle_rate, organization.duplicates_h) == (2.5, 48)
    assert (organization.keep_days, organization.keep_count, organization.keep_payloads_days) == (60, None, 7)


def test_a_member_reads_and_changes_nothing(client: Client, organization: Organization) -> None:
    client.force_login(join(organization, Membership.Role.MEMBER))

    shown = text_of(client, organization)

    assert "Only owners and admins of Acme can change them" in shown
    assert "Save settings" not in shown
    assert client.post(url_of(organization), FORM).status_code == 403
    organization.refresh_from_db()
    assert organization.throttle_rate == 1


def test_an_organization_of_others_is_not_found(visitor: Client, stranger: User) -> None:
    other = Organization.objects.get(name="Other")

    assert visitor.get(url_of(other)).status_code == 404
    assert visitor.post(url_of(other), FORM).status_code == 404


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("throttle_rate", "0", "Write a number from 0.1 to 10."),
        ("throttle_rate", "0.09", "Write a number from 0.1 to 10."),
        ("throttle_rate", "10.1", "Write a number from 0.1 to 10."),
        ("throttle_rate", "-1", "Write a number from 0.1 to 10."),
        ("throttle_rate", "nan", "Write a number from 0.1 to 10."),
        ("throttle_rate", "1e309", "Write a number from 0.1 to 10."),
        ("throttle_rate", "", "Write a number from 0.1 to 10."),
        ("throttle_rate", "fast", "Write a number from 0.1 to 10."),
        ("duplicates_h", "0", "Write a whole number of hours from 1 to 168."),
        ("duplicates_h", "169", "Write a whole number of hours from 1 to 168."),
        ("duplicates_h", "", "Write a whole number of hours from 1 to 168."),
        ("keep_days", "0", "Write a whole number of days from 1 to 3,650, or leave the field empty."),
        ("keep_days", "9" * 40, "Write a whole number of days from 1 to 3,650, or leave the field empty."),
        ("keep_days", "1.5", "Write a whole number of days from 1 to 3,650, or leave the field empty."),
        ("keep_count", "0", "Write a whole number of executions from 1 to 1,000,000,000, or leave the field empty."),
        ("keep_payloads_days", "-7", "Write a whole number of days from 1 to 3,650, or leave the field empty."),
        ("keep_payloads_days", "61", "at most 60 days."),
    ],
)
def test_a_value_that_breaks_a_rule_is_a_field_error(
    visitor: Client, organization: Organization, field: str, value: str, rule: str
) -> None:
    answer = visitor.post(url_of(organization), FORM | {field: value})

    assert answer.status_code == 422
    errors = re.findall(r'<ul class="errorlist" id="id_(\w+)_error"><li>(.*?)</li>', answer.content.decode())
    assert [(name, said.endswith(rule)) for name, said in errors] == [(field, True)]
    organization.refresh_from_db()
    assert (organization.throttle_rate, organization.keep_days) == (1, 90)


def test_the_highest_rate_is_the_one_that_staff_allow(visitor: Client, organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(throttle_rate_limit=25)

    assert "Write a number from 0.1 to 25." in text_of(visitor, organization)
    assert visitor.post(url_of(organization), FORM | {"throttle_rate": "25"}).status_code == 302


def test_limits_of_staff_are_not_taken_from_the_form(visitor: Client, organization: Organization) -> None:
    posted = FORM | {"hard_limit": "1000000", "throttle_rate_limit": "99", "direct_limit": ""}
    Organization.objects.filter(pk=organization.pk).update(hard_limit=5)

    visitor.post(url_of(organization), posted)

    organization.refresh_from_db()
    assert (organization.hard_limit, organization.throttle_rate_limit, organization.direct_limit) == (5, 10, 5000)


def test_limits_are_shown_with_what_is_used_of_them(visitor: Client, organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(hard_limit=2000, email_limit=50, direct_limit=1234)
    UsageMonth.objects.create(organization=organization, month=this_month(), reserved=1500, emails=50)

    shown = text_of(visitor, organization)

    assert 'max="2000" value="1500" aria-label="Executions, hard limit: 1,500 of 2,000"' in shown
    assert 'max="50" value="50" data-level="bad"' in shown
    assert "No limit is set." in shown
    assert "<dd>1,234</dd>" in shown

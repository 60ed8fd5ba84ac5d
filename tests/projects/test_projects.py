from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from automations.models import Automation
from projects.ids import new_id
from projects.models import Membership, Organization, Project, UsageDay
from tests.support.markup import compact


@pytest.fixture
def client(client: Client, builder: User) -> Client:
    client.force_login(builder)
    return client


def form(organization: Organization, **fields: object) -> dict[str, object]:
    return {"uid": str(new_id()), "organization": str(organization.pk), "name": "Shop", **fields}


def test_list_shows_what_each_project_holds(client: Client, project: Project, automation: Automation) -> None:
    day = timezone.now().date()
    for shard, count in ((0, 3), (1, 4)):
        UsageDay.objects.create(
            organization=project.organization, project=project, automation_id=automation.pk, day=day, status=3,
            shard=shard, count=count,
        )  # fmt: skip
    UsageDay.objects.create(
        organization=project.organization, project=project, automation_id=automation.pk,
        day=day.replace(year=day.year - 1), status=3, shard=0, count=50,
    )  # fmt: skip

    page = compact(client.get("/projects/").content.decode())

    assert project.name in page
    assert "Owner" in page
    assert "<dt>Automations</dt><dd>1</dd>" in page
    assert "<dt>Executions this month</dt><dd>7</dd>" in page


def test_list_takes_the_same_queries_for_many_projects(
    client: Client, organization: Organization, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        Project.objects.create(organization=organization, name=f"P{number}")

    with django_assert_num_queries(4):
        client.get("/projects/")


def test_member_sees_only_projects_shared_with_them(client: Client, organization: Organization) -> None:
    shared = Project.objects.create(organization=organization, name="Shared one")
    hidden = Project.objects.create(organization=organization, name="Hidden one")
    member = User.objects.create_user("member")
    Membership.objects.create(organization=organization, user=member, role=Membership.Role.MEMBER)
    shared.members.add(member)
    client.force_login(member)

    page = client.get("/projects/").content.decode()

    assert "Shared one" in page
    assert "Hidden one" not in page
    assert client.get(f"/projects/{shared.pk}/").status_code == 302
    assert client.get(f"/projects/{hidden.pk}/").status_code == 404


def test_project_of_another_organization_is_not_found(client: Client, stranger: User) -> None:
    foreign = Project.objects.get(name="Elsewhere")

    assert client.get(f"/projects/{foreign.pk}/").status_code == 404
    assert client.get(f"/projects/{foreign.pk}/variables/").status_code == 404
    assert "Elsewhere" not in client.get("/projects/").content.decode()


def test_owner_creates_a_project(client: Client, organization: Organization) -> None:
    answer = client.post("/projects/new/", form(organization, name="Shop", description="Sells"))

    project = Project.objects.get(name="Shop")
    assert answer.headers["Location"] == f"/projects/{project.pk}/"
    assert project.organization == organization


def test_one_project_is_made_when_its_form_is_sent_twice(client: Client, organization: Organization) -> None:
    sent = form(organization)

    answers = [client.post("/projects/new/", sent) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [302, 302]
    assert Project.objects.filter(name="Shop").count() == 1


def test_member_may_not_create_a_project(client: Client, organization: Organization) -> None:
    member = User.objects.create_user("member")
    Membership.objects.create(organization=organization, user=member, role=Membership.Role.MEMBER)
    client.force_login(member)

    assert client.post("/projects/new/", form(organization)).status_code == 403
    assert not Project.objects.exists()


def test_project_is_refused_in_an_organization_of_others(client: Client, stranger: User) -> None:
    other = Organization.objects.get(name="Other")

    assert client.post("/projects/new/", form(other)).status_code == 422
    assert not other.projects.filter(name="Shop").exists()


@pytest.mark.parametrize("name", ["", "   ", "x" * 10_000, "two\nlines", "nul\x00", "\x1b"])
def test_bad_name_is_a_field_error(client: Client, organization: Organization, name: str) -> None:
    answer = client.post("/projects/new/", form(organization, name=name))

    assert answer.status_code == 422
    assert "errorlist" in answer.content.decode()
    assert not Project.objects.exists()


def test_markup_in_a_name_is_shown_as_text(client: Client, organization: Organization) -> None:
    client.post("/projects/new/", form(organization, name="<b>bold</b>"))

    page = client.get("/projects/").content.decode()
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "<b>bold</b>" not in page


def test_anonymous_is_sent_to_sign_in(db: None) -> None:
    assert Client().get("/projects/").headers["Location"].startswith("/login/")


def test_post_without_csrf_token_is_refused(client: Client, builder: User, organization: Organization) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(builder)

    assert strict.post("/projects/new/", form(organization)).status_code == 403
    assert not Project.objects.exists()

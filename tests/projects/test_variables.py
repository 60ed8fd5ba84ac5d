from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from automations.models import Automation
from projects.models import Project, Variable

SECRET = "a-secret-nobody-may-see-again"


@pytest.fixture
def client(client: Client, builder: User) -> Client:
    client.force_login(builder)
    return client


@pytest.fixture
def address(project: Project) -> str:
    return f"/projects/{project.pk}/variables/"


@pytest.fixture
def secret(project: Project) -> Variable:
    variable = Variable(project=project, key="API_TOKEN", is_secret=True)
    variable.value = SECRET
    variable.save()
    return variable


def test_variable_is_added_and_shown(client: Client, address: str, project: Project) -> None:
    answer = client.post(address, {"key": "BASE_URL", "value": "https://example.com"}, follow=True)

    assert "https://example.com" in answer.content.decode()
    assert project.variables.get().value == "https://example.com"


def test_secret_is_stored_encrypted(client: Client, address: str, project: Project) -> None:
    client.post(address, {"key": "API_TOKEN", "value": SECRET, "is_secret": "on"})

    variable = project.variables.get()
    assert variable.value == SECRET
    assert SECRET not in variable.encrypted


def test_secret_is_on_no_page_after_saving(
    client: Client, address: str, secret: Variable, make_automation: Callable[..., Automation]
) -> None:
    input_ = {"url": "https://example.com/", "headers": [{"name": "X", "value": "{{ vars.API_TOKEN }}"}]}
    step = {"key": "fetch", "connector": "http", "action": "request", "input": input_}
    automation = make_automation(steps=[step])
    builder = f"/projects/{automation.project_id}/automations/{automation.pk}/"

    for page in (address, f"{address}{secret.pk}/", builder, f"{builder}steps/fetch/", f"{builder}trigger/"):
        answer = client.get(page)
        assert answer.status_code == 200
        assert SECRET not in answer.content.decode(), page


def test_secret_stays_when_its_new_value_is_left_empty(client: Client, address: str, secret: Variable) -> None:
    client.post(f"{address}{secret.pk}/", {"value": ""})
    assert Variable.objects.get().value == SECRET

    client.post(f"{address}{secret.pk}/", {"value": "another"})
    assert Variable.objects.get().value == "another"


def test_secret_cannot_be_made_readable(client: Client, address: str, secret: Variable) -> None:
    client.post(f"{address}{secret.pk}/", {"value": "", "is_secret": ""})

    assert Variable.objects.get().is_secret
    assert SECRET not in client.get(address).content.decode()


def test_typed_secret_does_not_come_back_with_an_error(client: Client, address: str) -> None:
    answer = client.post(address, {"key": "not a key", "value": SECRET, "is_secret": "on"})

    assert answer.status_code == 422
    assert SECRET not in answer.content.decode()


def test_key_is_refused_when_already_used(client: Client, address: str, secret: Variable) -> None:
    answer = client.post(address, {"key": "API_TOKEN", "value": "x"})

    assert answer.status_code == 422
    assert "already used" in answer.content.decode()
    assert Variable.objects.count() == 1


@pytest.mark.parametrize("key", ["", "1ST", "with space", "a-b", "ü", "x" * 65, "a.b", "\x00"])
def test_bad_key_is_a_field_error(client: Client, address: str, key: str) -> None:
    assert client.post(address, {"key": key, "value": "x"}).status_code == 422
    assert not Variable.objects.exists()


def test_variable_is_deleted_by_post_only(client: Client, address: str, secret: Variable) -> None:
    assert client.get(f"{address}{secret.pk}/delete/").status_code == 405
    assert Variable.objects.exists()

    client.post(f"{address}{secret.pk}/delete/")
    assert not Variable.objects.exists()


def test_variable_of_another_project_is_not_found(
    client: Client, address: str, secret: Variable, stranger: User
) -> None:
    client.force_login(stranger)
    own = Project.objects.get(name="Elsewhere")

    for page in (address, f"{address}{secret.pk}/", f"/projects/{own.pk}/variables/{secret.pk}/"):
        assert client.get(page).status_code == 404
    assert client.post(f"/projects/{own.pk}/variables/{secret.pk}/delete/").status_code == 404
    assert Variable.objects.exists()


def test_value_whose_key_is_lost_does_not_break_the_page(client: Client, address: str, project: Project) -> None:
    Variable.objects.create(project=project, key="OLD", encrypted="gAAAAABnot-ours")

    assert client.get(address).status_code == 200

"""Who may reach which page: every address of the resolver, from outside, from another organization, without a share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from automations.models import Automation
from executions.models import Execution, StepRun
from executions.states import Status, StepStatus
from projects.models import ApiToken, Membership, Variable

pytestmark = pytest.mark.django_db

OPEN = {"", "favicon.ico", "healthz", "readyz", "metrics", "login/"}  # all, or by a token; the rest wants a session
ANYBODY_SIGNED_IN = {"projects/", "projects/new/", "settings/", "help/executions/", "logout/"}
ELSEWHERE = ("admin/", "v1/")  # test_admin.py, test_api_access.py
CONVERTER = re.compile(r"<(?:\w+:)?(\w+)>")


def addresses(resolver: Any = None, before: str = "") -> Iterator[str]:
    """Yield every pattern of the resolver, as `projects/<uuid:project_uid>/`."""
    for pattern in (resolver or get_resolver()).url_patterns:
        whole = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern, whole)
        elif isinstance(pattern, URLPattern):
            yield whole


PATTERNS = sorted({pattern for pattern in addresses() if not pattern.startswith(ELSEWHERE)})
INSIDE = [pattern for pattern in PATTERNS if pattern not in OPEN | ANYBODY_SIGNED_IN]


@pytest.fixture
def of_builder(automation: Automation, make_execution: Callable[..., Execution], builder: User) -> Callable[[str], str]:
    """Return a function that fills a pattern with what belongs to `builder`; an unknown argument is an error."""
    execution = make_execution(status=Status.FAILED)
    StepRun.objects.create(
        execution_id=execution.pk, attempt=1, key="fetch", position=1, organization_id=execution.organization_id,
        status=StepStatus.FAILED, connector="http", action="request", started_at=execution.run_at, input="{}",
    )  # fmt: skip
    variable = Variable(project=automation.project, key="NAME")
    variable.value = "value"
    variable.save()
    token, _ = ApiToken.objects.make(builder, "mine")
    examples: dict[str, object] = {
        "project_uid": automation.project_id, "automation_uid": automation.pk, "execution_id": execution.pk,
        "attempt": 1, "key": "fetch", "side": "input", "position": 0, "organization_uid": automation.organization_id,
    }  # fmt: skip

    def fill(pattern: str) -> str:
        pk = token.pk if "tokens" in pattern else variable.pk
        return "/" + CONVERTER.sub(lambda found: str({**examples, "pk": pk}[found[1]]), pattern)

    return fill


@pytest.mark.parametrize("pattern", sorted(set(PATTERNS) - OPEN))
def test_a_stranger_without_a_session_is_sent_to_sign_in(
    client: Client, of_builder: Callable[[str], str], pattern: str
) -> None:
    for answer in (client.get(of_builder(pattern)), client.post(of_builder(pattern))):
        assert answer.status_code in (302, 405), answer
        assert answer.status_code == 405 or answer["Location"].startswith("/login/")


@pytest.mark.parametrize("pattern", INSIDE)
def test_nothing_of_another_organization_is_found(
    client: Client, stranger: User, of_builder: Callable[[str], str], pattern: str
) -> None:
    client.force_login(stranger)
    before = rows()

    for answer in (client.get(of_builder(pattern)), client.post(of_builder(pattern), {"name": "Stolen"})):
        assert answer.status_code in (404, 405), answer
    assert rows() == before


@pytest.mark.parametrize("pattern", [pattern for pattern in INSIDE if "project_uid" in pattern])
def test_a_member_finds_only_projects_that_are_shared(
    client: Client, automation: Automation, of_builder: Callable[[str], str], pattern: str
) -> None:
    member = User.objects.create_user("member")
    Membership.objects.create(organization_id=automation.organization_id, user=member, role=Membership.Role.MEMBER)
    client.force_login(member)

    assert client.get(of_builder(pattern)).status_code in (404, 405)

    automation.project.members.add(member)
    assert client.get(of_builder(pattern)).status_code in (200, 204, 302, 405)


@pytest.mark.parametrize("pattern", [pattern for pattern in PATTERNS if pattern not in OPEN])
def test_reading_changes_nothing(client: Client, builder: User, of_builder: Callable[[str], str], pattern: str) -> None:
    address = of_builder(pattern)
    client.force_login(builder)
    before = rows()

    client.get(address)

    assert rows() == before


def rows() -> dict[str, list[Any]]:
    """Return all that the database holds of ours."""
    labels = ("projects", "automations", "executions")
    ours = [model for label in labels for model in apps.get_app_config(label).get_models()]
    return {model._meta.label: sorted(map(repr, model._default_manager.values_list())) for model in ours}


def test_no_secret_is_on_any_page(
    client: Client, builder: User, automation: Automation, of_builder: Callable[[str], str]
) -> None:
    variable = Variable(project=automation.project, key="TOKEN", is_secret=True)
    variable.value = "canary-of-a-variable"
    variable.save()
    _, token = ApiToken.objects.make(builder, "canary")
    assert automation.trigger is not None
    secrets = [variable.value, variable.encrypted, token, automation.trigger.secret]
    client.force_login(builder)

    for pattern in PATTERNS:
        html = client.get(of_builder(pattern)).content.decode()
        assert [secret for secret in secrets if secret in html] == [], pattern

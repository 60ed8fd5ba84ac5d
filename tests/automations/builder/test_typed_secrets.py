"""A secret that was typed into a step: the builder offers to keep it in a secret variable."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from automations.models import Automation
from automations.typed_secrets import is_secret
from projects.models import Project
from tests.support.builder import Pages

TYPED = "Bearer typed-t0ken-0815"
REQUEST = {
    "input-method": "POST", "input-url": "https://example.com/", "input-body_type": "none",
    "input-timeout_s": "30", "input-headers-name": ["Accept", "Authorization"], "input-headers-value": ["*/*", TYPED],
}  # fmt: skip


@pytest.fixture
def typed(draft: Pages) -> Pages:
    """Return the pages of an automation whose step holds a token that was typed."""
    draft.post("add/0/", {"action": "http.request"})
    [key] = draft.keys
    headers = [{"name": "Accept", "value": "*/*"}, {"name": "Authorization", "value": TYPED}]
    step = draft.step(key)
    step.input = {"url": "https://example.com/", "headers": headers}
    definition = draft.automation.definition
    definition.steps = [step]
    draft.automation.save_draft(definition, rev=draft.automation.draft_rev)
    return draft


def fields_of(pages: Pages, key: str) -> dict[str, Any]:
    """Return the step's form as a browser would send it."""
    html = pages.client.get(f"{pages.root}steps/{key}/").content.decode()
    form = html[html.index('class="editor-main"') :]
    found: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]*>", form[: form.index("</form>")]):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        is_off = "checkbox" in tag and "checked" not in tag
        if name and not is_off and not name[1].startswith("csrf"):
            found.setdefault(name[1], []).append(value[1] if value else "")
    for name in re.findall(r'<select[^>]*name="([^"]*)"', form):
        chosen = re.search(rf'name="{name}".*?value="([^"]*)"[^>]*selected', form, re.DOTALL)
        found[name] = chosen[1] if chosen else ""
    return found


def test_a_click_moves_it_into_a_secret_variable_and_nothing_typed_is_lost(typed: Pages, project: Project) -> None:
    [key] = typed.keys
    assert "Authorization holds a secret" in typed.get(f"steps/{key}/")
    form = fields_of(typed, key) | {"step-title": "Changed meanwhile", "typed": "headers:Authorization"}

    answer = typed.post(f"steps/{key}/make-variable/", form)

    assert answer.status_code == 302
    variable = project.variables.get()
    assert (variable.is_secret, variable.value) == (True, "typed-t0ken-0815")
    step = typed.step(key)
    assert step.title == "Changed meanwhile"
    assert {"name": "Authorization", "value": f"Bearer {{{{ vars.{variable.key} }}}}"} in step.input["headers"]
    assert {"name": "Accept", "value": "*/*"} in step.input["headers"]
    page = typed.get(f"steps/{key}/")
    assert "holds a secret" not in page and "typed-t0ken" not in page and variable.key in page


def test_what_the_form_gets_wrong_is_said_and_makes_no_variable(typed: Pages, project: Project) -> None:
    [key] = typed.keys
    form = fields_of(typed, key) | {"step-key": "not a key!", "typed": "headers:Authorization"}

    answer = typed.post(f"steps/{key}/make-variable/", form)

    assert answer.status_code == 422
    assert not project.variables.exists()


def test_a_draft_that_was_saved_meanwhile_stays_and_makes_no_variable(typed: Pages, project: Project) -> None:
    [key] = typed.keys
    for form in (fields_of(typed, key), {}):
        old = form | {"rev": "1", "typed": "headers:Authorization"}
        answer = typed.client.post(f"{typed.root}steps/{key}/make-variable/", old)
        assert answer.status_code == 409
    assert not project.variables.exists()


@pytest.mark.parametrize("wanted", ["", "headers:Accept", "headers:Nothing", "url:Authorization", "x" * 10_000])
def test_what_is_no_typed_secret_changes_nothing(typed: Pages, project: Project, wanted: str) -> None:
    [key] = typed.keys
    before = typed.step(key).input

    assert typed.post(f"steps/{key}/make-variable/", {"typed": wanted}).status_code == 302

    assert typed.step(key).input == before
    assert not project.variables.exists()


def test_each_variable_gets_a_key_of_its_own(typed: Pages, project: Project) -> None:
    [key] = typed.keys
    for _ in range(3):
        typed.post(f"steps/{key}/make-variable/", {"typed": "headers:Authorization"})
        definition = typed.automation.definition
        step: Any = definition.find(key)
        step.input = {"headers": [{"name": "Authorization", "value": "Bearer another-t0ken"}]}
        typed.automation.save_draft(definition, rev=typed.automation.draft_rev)

    assert len(set(project.variables.values_list("key", flat=True))) == 3


def test_strangers_get_404(typed: Pages, stranger: User) -> None:
    [key] = typed.keys
    client = Client()
    client.force_login(stranger)
    path = f"{typed.root}steps/{key}/make-variable/"

    assert client.post(path, {"typed": "headers:Authorization", "rev": "1"}).status_code == 404
    assert typed.client.get(path).status_code == 405


def test_staff_see_a_mask_in_the_definitions(typed: Pages, automation: Automation) -> None:
    staff = Client()
    staff.force_login(User.objects.create_superuser("root"))
    definition = automation.definition
    definition.steps = typed.automation.definition.steps
    automation.save_draft(definition, rev=automation.draft_rev)
    version = automation.activate(None)

    for name, pk in (("automation", automation.pk), ("version", version.pk)):
        html = staff.get(reverse(f"admin:automations_{name}_change", args=[pk])).content.decode()
        assert "Authorization" in html and "typed-t0ken" not in html and "••••••••" in html


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("Authorization", True), ("Proxy-Authorization", True), ("X-Api-Key", True), ("api_key", True),
        ("apikey", True), ("X-Auth-Token", True), ("Cookie", True), ("X-Shopify-Access-Token", True),
        ("X-Hub-Signature-256", True), ("client_secret", True), ("PRIVATE-TOKEN", True), ("sig", True),
        ("Idempotency-Key", False), ("Accept", False), ("Content-Type", False), ("X-Author", False), ("keyword", False),
        ("page_size", False), ("X-Tokenizer", False), ("monkey", False), ("sort_key", False),
    ],
)  # fmt: skip
def test_a_name_says_whether_it_holds_a_secret(name: str, holds: bool) -> None:
    assert is_secret(name) is holds

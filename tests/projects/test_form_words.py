"""What forms say about a wrong value: the field and the rule, never Django's own words."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from automations.models import Automation
from projects.ids import new_id

DJANGOS = re.compile(r"This field is required|Ensure this value|Select a valid choice|Please enter|Enter a valid")
LONG = "x" * 20_000


def said(client: Client, address: str, data: dict[str, Any]) -> str:
    answer = client.post(address, data, follow=True)
    return html.unescape(answer.content.decode())


@pytest.mark.parametrize(
    ("path", "data", "sentence"),
    [
        ("new/", {"name": ""}, "Name is empty."),
        ("new/", {"name": "x" * 300}, "Name can have at most 100 characters; this text has 300."),
        ("new/", {"name": "A", "description": "x" * 300}, "Description can have at most 255 characters"),
        ("projects", {"name": "x" * 300}, "Name can have at most 100 characters; this text has 300."),
        ("projects", {"name": "A", "organization": "nobody"}, "Organization must be one of the choices, not “nobody”."),
        ("variables", {"key": "", "value": "1"}, "Key is empty."),
        ("variables", {"key": "K" * 300, "value": "1"}, "Key can have at most"),
        ("variables", {"key": "K", "value": LONG}, "Value can have at most 10000 characters; this text has 20000."),
        ("step", {"step-title": "x" * 300}, "Name can have at most 200 characters; this text has 300."),
        ("step", {"step-key": ""}, "Reference is empty."),
        ("step", {"step-on_error": "explode"}, "If it fails must be one of the choices, not “explode”."),
        ("step", {"input-method": "FOO"}, "Method must be"),
        ("login", {"username": "builder", "password": "wrong"}, "The username or the password is wrong."),
        ("login", {"username": "", "password": ""}, "Username is empty."),
    ],
)
@pytest.mark.django_db
def test_a_wrong_value_is_named_with_its_rule(
    client: Client, builder: User, automation: Automation, path: str, data: dict[str, Any], sentence: str
) -> None:
    root = f"/projects/{automation.project_id}/"
    step = {"step-key": "fetch", "step-on_error": "stop", "step-retry_times": "0", "step-retry_backoff_s": "5"}
    addresses = {
        "new/": (f"{root}automations/new/", {"uid": str(new_id())}),
        "projects": ("/projects/new/", {"uid": str(new_id()), "organization": str(automation.organization_id)}),
        "variables": (f"{root}variables/", {}),
        "step": (f"{root}automations/{automation.pk}/steps/fetch/", {"rev": str(automation.draft_rev), **step}),
        "login": ("/login/", {}),
    }
    address, valid = addresses[path]
    if path != "login":
        client.force_login(builder)

    page = said(client, address, valid | data)

    assert sentence in re.sub(r"\s+", " ", page)
    assert not DJANGOS.search(page)

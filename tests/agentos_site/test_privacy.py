"""What browsers and proxies may keep of a page, and how long a session lasts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db.models import F
from django.test import Client
from django.utils import timezone

from automations.models import Automation
from executions.models import Execution
from harness.installation import Installation
from harness.processes import ROOT
from projects.models import ApiToken

pytestmark = pytest.mark.django_db
HOUR = 3600


@pytest.fixture
def signed_in(client: Client, builder: User) -> Client:
    client.force_login(builder)
    return client


def test_no_page_is_kept(signed_in: Client, automation: Automation, make_execution: Callable[..., Execution]) -> None:
    execution = make_execution()
    project = f"/projects/{automation.project_id}"
    paths = [
        "/", "/projects/", "/projects/new/", "/settings/", "/settings/password/", "/nowhere/", "/admin/",
        f"{project}/variables/", f"{project}/executions/", f"{project}/executions/{execution.pk}/",
        f"{project}/automations/", f"{project}/automations/{automation.pk}/", f"{project}/usage/",
        f"/settings/organization/{automation.organization_id}/", "/help/executions/",
    ]  # fmt: skip
    parts = {"HX-Request": "true", "HX-Request-Type": "partial"}

    for path in paths:
        for headers in ({}, parts):
            answer = signed_in.get(path, headers=headers)
            assert "no-store" in answer["Cache-Control"], path
            assert "noindex" in answer["X-Robots-Tag"], path
            assert answer["Referrer-Policy"] == "same-origin"
    assert "no-store" in Client().get("/projects/")["Cache-Control"]
    assert "no-store" in signed_in.post(f"{project}/variables/", {})["Cache-Control"]


def test_no_answer_of_the_api_is_kept(builder: User) -> None:
    _, text = ApiToken.objects.make(builder, "CI")

    for headers in ({"authtoken": text}, {}):
        assert "no-store" in Client().get("/v1/projects", headers=headers)["Cache-Control"]


def test_static_files_are_kept_and_nothing_else_is_among_them(product: Installation) -> None:
    manifest = next((product.directory / "static" / "css").glob("base.*.css"))

    with_headers = subprocess.run(
        ["curl", "-sI", f"{product.url}/static/css/{manifest.name}"], capture_output=True, text=True, check=True
    ).stdout.lower()

    assert "max-age=315360000" in with_headers and "no-store" not in with_headers
    assert product.get("/static/.stamp")[0] == 404


# --- sessions


def age(seconds: float) -> None:
    """Have all sessions begun earlier."""
    Session.objects.update(expire_date=F("expire_date") - timedelta(seconds=seconds))
    for row in Session.objects.all():
        values = row.get_decoded()
        if "used_at" in values:
            values["used_at"] -= seconds
        Session.objects.filter(pk=row.pk).update(session_data=Session.objects.encode(values))


def left() -> float:
    return (Session.objects.get().expire_date - timezone.now()).total_seconds()


def test_a_session_ends_after_12_hours_without_use(signed_in: Client) -> None:
    assert signed_in.get("/projects/").status_code == 200
    assert 11.9 * HOUR < left() <= 12 * HOUR

    age(12 * HOUR + 1)

    assert signed_in.get("/projects/")["Location"].startswith("/login/")


def test_use_prolongs_a_session_and_costs_one_write_an_hour(signed_in: Client) -> None:
    signed_in.get("/projects/")
    for _ in range(30):
        age(0.9 * HOUR)
        signed_in.get("/projects/")
    assert left() > 10.9 * HOUR

    signed_in.get("/projects/")
    age(1.1 * HOUR)
    answer = signed_in.get("/projects/")
    assert answer.cookies["agentos_session_8000"]["max-age"] == 12 * HOUR
    assert not signed_in.get("/projects/").cookies.get("agentos_session_8000")


def test_a_page_left_open_does_not_prolong_it(signed_in: Client, automation: Automation) -> None:
    poll: Any = {"HX-Request": "true", "HX-Request-Type": "partial"}
    log = f"/projects/{automation.project_id}/executions/"
    signed_in.get(log)

    for _ in range(12):
        signed_in.get(f"{log}?rows=", headers=poll)
        age(1.01 * HOUR)

    assert signed_in.get(log)["Location"].startswith("/login/")


def test_a_clock_that_was_ahead_does_not_keep_it_from_being_prolonged(signed_in: Client) -> None:
    signed_in.get("/projects/")
    age(-20 * HOUR)

    signed_in.get("/projects/")

    assert left() <= 12 * HOUR
    assert abs(Session.objects.get().get_decoded()["used_at"] - time.time()) < 60


def test_signing_in_removes_sessions_that_are_over(signed_in: Client) -> None:
    User.objects.create_user("ada", "ada@example.com", "right-4711")
    signed_in.get("/projects/")
    age(13 * HOUR)

    Client().post("/login/", {"username": "ada", "password": "right-4711"})

    assert Session.objects.count() == 1


# --- HSTS


@pytest.mark.parametrize(
    ("given", "header"),
    [
        ({}, "max-age=31536000"), ({"HSTS_SECONDS": "0"}, None), ({"HSTS_SECONDS": "60"}, "max-age=60"),
        ({"HSTS_SUBDOMAINS": "1"}, "max-age=31536000; includeSubDomains"),
        ({"HSTS_SUBDOMAINS": "1", "HSTS_PRELOAD": "1"}, "max-age=31536000; includeSubDomains; preload"),
    ],
)  # fmt: skip
def test_hsts_speaks_for_this_host_alone_unless_told(given: dict[str, str], header: str | None, tmp_path: Any) -> None:
    code = (
        "import django; django.setup(); from django.test import Client; "
        "answer = Client().get('/readyz', secure=True, headers={'Host': 'agentos.example.com'}); "
        "print(answer.headers.get('Strict-Transport-Security'))"
    )
    environment = {
        "PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "agentos_site.settings", "DATA_DIR": str(tmp_path),
        "SECRET_KEY": "x" * 50, "FIELD_KEYS": "x" * 43 + "=", "BASE_URL": "https://agentos.example.com", **given,
    }  # fmt: skip

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )

    assert done.stdout.strip() == str(header), done.stderr

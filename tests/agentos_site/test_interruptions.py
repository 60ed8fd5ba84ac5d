"""Pages in hands that lost something meanwhile: the session, the database."""

from __future__ import annotations

import http.cookiejar
import urllib.error
import urllib.parse
import urllib.request

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from harness.installation import Installation
from projects.models import Project


@pytest.mark.django_db
def test_a_part_of_a_page_leads_to_the_whole_login_page_when_the_session_ended(
    client: Client, builder: User, project: Project
) -> None:
    page = reverse("executions:log", args=[project.pk])

    answer = client.get(
        reverse("executions:delta", args=[project.pk]),
        headers={
            "HX-Request": "true",
            "HX-Request-Type": "partial",
            "HX-Current-URL": f"http://testserver{page}?status=failed",
        },
    )

    assert answer.status_code == 200
    assert answer["HX-Redirect"] == f"/login/?next={urllib.parse.quote(page + '?status=failed', safe='/')}"
    assert not answer.content


def test_a_page_says_plainly_that_the_database_is_away(server: Installation) -> None:
    if server.backend == "sqlite":
        return  # a locked SQLite file still answers reads
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    opener.addheaders = [("Cookie", f"agentos_session_{server.port}=something")]

    with server.database.away(), pytest.raises(urllib.error.HTTPError) as raised:
        opener.open(server.url + "/projects/", timeout=20)

    assert raised.value.code == 503
    assert raised.value.headers["Retry-After"]
    assert "The database is unreachable" in raised.value.read().decode()
